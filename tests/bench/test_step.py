"""`bench/step.py` with TRL, on a model of 22 thousand parameters."""

import pytest

from speed_case import Case

pytestmark = pytest.mark.peer

CASE = Case(size="micro", completion_length=12, prompt_length=8)


def test_whet_and_trl_take_the_same_gradient_from_the_same_rollouts():
    import step

    found = step.measure(CASE, 1, None)
    assert found["checks"]["gradient_difference"] < 1e-5
    assert found["sides"]["trl"]["parts_cpu_s"].keys() == {"generation", "forward", "backward", "optimizer"}
    assert found["ratio_samples_per_s"] > 0
