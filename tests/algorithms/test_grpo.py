import pytest

from tables import annotate, draw, forward, scalar, table
from whet.algorithms.grpo import GRPO


def test_advantages_are_divided_by_the_sample_standard_deviation():
    # 0.5 / (sqrt(1/3) + 1e-4)
    advantages = GRPO().advantages(draw(["x"] * 4, [1, 0, 0, 1], [0] * 4), {})
    assert advantages.flatten().tolist() == pytest.approx(
        [0.865875, -0.865875, -0.865875, 0.865875], abs=1e-6
    )


def test_rewards_along_a_row_are_summed():
    batch = draw(["xxx", "xx"], [1, 0], [0, 0])
    batch.rewards[1, 0] = 1.0
    assert (GRPO().advantages(batch, {}) == 0).all()


def test_every_sequence_counts_the_same_whatever_its_length():
    # On-policy each row's mean surrogate is -A, and the two advantages cancel.
    batch = annotate(GRPO(), draw([".xxxxxxx", ".x"], [1, 0], [0, 0]), None)
    assert scalar(GRPO(), batch, forward(table(0), batch)).item() == pytest.approx(0.0, abs=1e-15)


def test_a_failed_rollout_that_left_its_group_changes_the_group_only():
    whole = GRPO().advantages(draw(["x"] * 5, [1, 0, 1, 0, 0], [0, 0, 1, 1, 1]), {}).flatten()
    short = GRPO().advantages(draw(["x"] * 4, [1, 0, 1, 0], [0, 0, 1, 1]), {}).flatten()
    assert whole[:2].tolist() == short[:2].tolist()
    assert whole[2] != short[2]
