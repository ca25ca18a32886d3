"""The nouns: scores, rollouts, groups and batches."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest
import torch

from whet.errors import ConfigError
from whet.types import Batch, Example, Rollout, RolloutGroup, SamplingParams, Score

EXAMPLE = Example(id="1", prompt="2+2=", answer="4")


def rollout(score: Score, **changes: object) -> Rollout:
    fields = {
        "example": EXAMPLE,
        "token_ids": (5, 6, 7, 8),
        "loss_mask": (False, False, True, True),
        "sampling_logprobs": (0.0, 0.0, -0.5, -0.25),
        "finish_reason": "stop",
        "policy_version": 0,
        "text": "4",
        "score": score,
    }
    return Rollout(**{**fields, **changes})  # type: ignore[arg-type]


def group(*scores: Score) -> RolloutGroup:
    return RolloutGroup(example=EXAMPLE, rollouts=tuple(rollout(score) for score in scores))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_ok_score_is_a_finite_number(value: float) -> None:
    with pytest.raises(ValueError, match="finite number exactly when"):
        Score(value=value)


@pytest.mark.parametrize("status", ["error", "timeout", "invalid"])
def test_a_failed_score_has_no_value(status: str) -> None:
    with pytest.raises(ValueError, match="finite number exactly when"):
        Score(value=0.0, status=status)  # type: ignore[arg-type]


def test_a_failure_keeps_its_reason() -> None:
    failed = Score.failed("timeout", "no answer in 3 s")
    assert (failed.ok, failed.status, failed.detail) == (False, "timeout", "no answer in 3 s")
    assert math.isnan(failed.value)


def test_what_is_skipped_has_no_value_and_is_no_failure() -> None:
    skipped = Score.skipped("not a sum")
    assert (skipped.ok, skipped.is_failure, skipped.detail) == (False, False, "not a sum")
    assert math.isnan(skipped.value)
    assert Score.failed("error", "boom").is_failure and not Score(value=0.0).is_failure


def test_a_score_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Score(value=1.0).value = 2.0  # type: ignore[misc]


@pytest.mark.parametrize("name", ["token_ids", "loss_mask", "sampling_logprobs"])
def test_the_lists_of_a_rollout_have_one_length(name: str) -> None:
    with pytest.raises(ValueError, match="have one length"):
        rollout(Score(value=1.0), **{name: ()})


def test_the_length_of_a_completion_counts_sampled_tokens_only() -> None:
    assert rollout(Score(value=1.0)).completion_length == 2


def test_a_failed_rollout_stays_in_the_group_but_not_among_the_scored() -> None:
    mixed = group(Score(value=1.0), Score.failed("error", "boom"), Score(value=0.0))
    assert len(mixed.rollouts) == 3
    assert [r.score.value for r in mixed.scored] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([Score(value=1.0), Score(value=0.0)], True),
        ([Score(value=0.0), Score(value=-0.5)], True),
        ([Score(value=1.0), Score(value=1.0)], False),
        ([Score(value=1.0), Score.failed("error", "boom")], False),
        ([], False),
    ],
)
def test_a_group_has_signal_when_its_rewards_differ(scores: list[Score], expected: bool) -> None:
    assert group(*scores).has_signal is expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"temperature": 0.7}, True),
        ({"temperature": 0.0}, False),
        ({"top_p": 0.9}, False),
        ({"top_k": 5}, False),
        ({"min_p": 0.1}, False),
    ],
)
def test_only_untruncated_sampling_draws_from_the_full_distribution(
    changes: dict[str, float], expected: bool
) -> None:
    assert SamplingParams(**changes).is_full_distribution is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"max_completion_length": 0},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_k": -1},
        {"min_p": 1.1},
        {"stop": "ab"},
        {"stop": ("a", "")},
    ],
    ids=str,
)
def test_sampling_that_cannot_be_is_refused_by_name(change: dict[str, Any]) -> None:
    [(name, value)] = change.items()
    with pytest.raises(ConfigError, match=rf"^{name} = {re.escape(repr(value))} cannot be sampled with"):
        SamplingParams(**change)


def batch() -> Batch:
    """Three rows of 2, 4 and 3 tokens."""
    return Batch(
        token_ids=torch.tensor([[1, 2, 0, 0], [3, 4, 5, 6], [7, 8, 9, 0]]),
        lengths=torch.tensor([2, 4, 3]),
        loss_mask=torch.tensor([[0, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0]]).bool(),
        group=torch.tensor([0, 0, 1]),
        truncated=torch.tensor([False, True, False]),
        rewards=torch.tensor([[0.0, 1, 0, 0], [0, 0, 0, 2], [0, 0, 3, 0]]),
        sampling_logprobs=torch.zeros(3, 4),
        temperature=0.7,
    )


def test_rows_of_a_batch_are_cut_to_the_longest_of_them() -> None:
    part = batch().rows(torch.tensor([2, 0]))
    assert part.token_ids.tolist() == [[7, 8, 9], [1, 2, 0]]
    assert part.rewards.tolist() == [[0, 0, 3], [0, 1, 0]]
    assert part.lengths.tolist() == [3, 2]
    assert part.group.tolist() == [1, 0]


def test_rows_keep_the_temperature_and_what_is_not_computed_yet() -> None:
    part = batch().rows(torch.tensor([1]))
    assert part.temperature == 0.7
    assert part.old_logprobs is None


def test_rows_can_be_named_by_a_mask() -> None:
    part = batch().rows(torch.tensor([True, False, True]))
    assert part.token_ids.tolist() == [[1, 2, 0], [7, 8, 9]]


def test_no_rows_are_an_empty_batch() -> None:
    part = batch().rows(torch.tensor([], dtype=torch.int64))
    assert len(part) == 0
    assert part.token_ids.shape == (0, 0)
