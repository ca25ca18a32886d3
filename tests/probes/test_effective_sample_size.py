import pytest
import torch

import tiny
from whet.algorithms.dr_grpo import DrGRPO
from whet.config import SamplingConfig
from whet.probes.effective_sample_size import EffectiveSampleSize
from whet.rollouts.batch import make_batch
from whet.training.terms import with_advantages


def found(rewards: list[list[float]]) -> dict[str, float]:
    batch = make_batch(tiny.groups(tiny.policy(), rewards), SamplingConfig(), torch.device("cpu"))
    metrics = EffectiveSampleSize().annotated(with_advantages(batch, DrGRPO(), {}))
    return {name.removeprefix("effective_sample_size/"): value for name, value in metrics.items()}


def test_sequences_that_pull_equally_hard_all_count() -> None:
    assert found([[1, 0], [1, 0]]) == pytest.approx({"sequences": 4, "groups": 2})


def test_a_group_without_signal_counts_for_nothing() -> None:
    assert found([[1, 0], [1, 1], [0, 0]]) == pytest.approx({"sequences": 2, "groups": 1})


def test_unequal_advantages_count_by_kish() -> None:
    # Advantages of 0, 0, 0, 1: -1/4 three times and 3/4. (3/4 + 3/4)^2 / (3/16 + 9/16) = 2.25 / 0.75 = 3.
    assert found([[0, 0, 0, 1]]) == pytest.approx({"sequences": 3, "groups": 1})


def test_no_signal_at_all_is_zero() -> None:
    assert found([[1, 1], [0, 0]]) == {"sequences": 0, "groups": 0}
