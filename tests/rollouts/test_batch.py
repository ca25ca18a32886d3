"""Where everything lands in a batch, and how batches are cut."""

from collections.abc import Sequence

import pytest
import torch

import tiny
from whet.config import SamplingConfig
from whet.rollouts.batch import make_batch, microbatches, minibatches
from whet.types import Batch, Rollout, RolloutGroup

CPU = torch.device("cpu")


def rollout(prompt: int, completion: int, value: float | None, reason: str = "stop") -> Rollout:
    """Tokens 1, 2, 3... and log-probabilities -1 on what was sampled."""
    length = prompt + completion
    return Rollout(
        example=tiny.example(),
        token_ids=tuple(range(1, length + 1)),
        loss_mask=(False,) * prompt + (True,) * completion,
        sampling_logprobs=(0.0,) * prompt + (-1.0,) * completion,
        finish_reason=reason,  # type: ignore[arg-type]
        policy_version=0,
        text="",
        score=tiny.scored(value),
    )


def batch_of(*groups: Sequence[Rollout]) -> Batch:
    sampling = SamplingConfig(max_completion_length=9, temperature=0.7)
    return make_batch(
        [RolloutGroup(example=tiny.example(), rollouts=tuple(g)) for g in groups], sampling, CPU
    )


BATCH = batch_of(
    [rollout(2, 1, 0.5), rollout(2, 3, -1.0, "length")],
    [rollout(1, 2, None), rollout(1, 2, 2.0)],
)


def test_rows_are_padded_on_the_right_with_zeros() -> None:
    assert BATCH.token_ids.tolist() == [[1, 2, 3, 0, 0], [1, 2, 3, 4, 5], [1, 2, 3, 0, 0]]
    assert BATCH.lengths.tolist() == [3, 5, 3]


def test_only_what_was_sampled_is_trained() -> None:
    assert BATCH.loss_mask.int().tolist() == [[0, 0, 1, 0, 0], [0, 0, 1, 1, 1], [0, 1, 1, 0, 0]]
    assert BATCH.sampling_logprobs.tolist() == [[0, 0, -1, 0, 0], [0, 0, -1, -1, -1], [0, -1, -1, 0, 0]]


def test_the_reward_stands_at_the_last_sampled_token() -> None:
    assert BATCH.rewards.tolist() == [[0, 0, 0.5, 0, 0], [0, 0, 0, 0, -1], [0, 0, 2, 0, 0]]


def test_a_failed_rollout_is_left_out_and_its_group_keeps_its_number() -> None:
    assert BATCH.group.tolist() == [0, 0, 1]


def test_what_ran_into_the_limit_is_truncated() -> None:
    assert BATCH.truncated.tolist() == [False, True, False]


def test_settings_travel_with_the_batch() -> None:
    assert (BATCH.temperature, BATCH.max_completion_length) == (0.7, 9)


@pytest.mark.parametrize("batch", [batch_of(), batch_of([rollout(1, 1, None)])])
def test_a_step_without_a_score_is_an_empty_batch(batch: Batch) -> None:
    assert len(batch) == 0
    assert minibatches(batch, 2) == []
    assert list(microbatches(batch, 10, True)) == list(microbatches(batch, 10, False)) == []


def groups_of(*sizes: int) -> Batch:
    return batch_of(*([rollout(1, 1 + i % 3, 1.0) for i in range(size)] for size in sizes))


def test_minibatches_hold_whole_groups_as_equal_as_can_be() -> None:
    # Five groups in two parts: three and two.
    parts = [rows.tolist() for rows in minibatches(groups_of(2, 1, 3, 2, 2), 2)]
    assert parts == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]


def test_every_row_is_in_exactly_one_minibatch() -> None:
    for count in (1, 2, 3, 4, 7):
        parts = minibatches(groups_of(2, 1, 3, 2), count)
        assert sorted(row for rows in parts for row in rows.tolist()) == list(range(8))
        assert len(parts) == min(count, 4)


@pytest.mark.parametrize("limit", [1, 4, 7, 8, 12, 100])
def test_padded_microbatches_respect_the_budget_and_never_cut_a_row(limit: int) -> None:
    batch = batch_of([rollout(1, n, 1.0) for n in (3, 1, 6, 2, 5, 1, 3)])  # lengths 4 2 7 3 6 2 4
    cuts = [rows.tolist() for rows in microbatches(batch, limit, False)]
    assert sorted(row for rows in cuts for row in rows) == list(range(7))
    for rows in cuts:
        padded = len(rows) * max(batch.lengths[rows].tolist())
        assert padded <= limit or len(rows) == 1


def test_padded_microbatches_take_the_longest_first() -> None:
    # By length: 7 | 6 4 | 4 3 2 | 2, with 12 // 7 = 1, 12 // 6 = 2 and 12 // 4 = 3 rows.
    batch = batch_of([rollout(1, n, 1.0) for n in (3, 1, 6, 2, 5, 1, 3)])
    assert [rows.tolist() for rows in microbatches(batch, 12, False)] == [[2], [4, 0], [6, 3, 1], [5]]


def packed(batch: Batch, limit: int) -> list[list[int]]:
    return [rows.tolist() for rows in microbatches(batch, limit, True)]


def test_packed_microbatches_count_a_prompt_once_a_group_and_no_last_token() -> None:
    # Prompt 3, and 1, 4 and 2 tokens of which the last is not read: 3 + 0 + 3 + 1 = 7.
    batch = batch_of([rollout(3, n, 1.0) for n in (1, 4, 2)])
    assert packed(batch, 7) == [[0, 1, 2]]
    assert packed(batch, 6) == [[0, 1], [2]]  # 3 + 0 + 3 = 6


def test_packed_microbatches_keep_groups_whole_and_take_the_first_with_room_for_the_next_largest() -> None:
    # Groups read 2 + 1 = 3, 3 + 2 + 2 = 7, 2 + 3 = 5 and 1 + 1 = 2 tokens; limit 8: 7, 5 + 3, 2.
    batch = batch_of(
        [rollout(2, 2, 1.0)],
        [rollout(3, 3, 1.0), rollout(3, 3, 1.0)],
        [rollout(2, 4, 1.0)],
        [rollout(1, 2, 1.0)],
    )
    assert packed(batch, 8) == [[1, 2], [0, 3], [4]]


def test_packed_microbatches_split_only_a_group_that_is_too_large_and_count_its_prompt_again() -> None:
    # Each row alone reads 2 + 3 = 5, and two of them 2 + 6 = 8; the small group reads 1 + 1 = 2.
    batch = batch_of([rollout(2, 4, 1.0) for _ in range(3)], [rollout(1, 2, 1.0)])
    assert packed(batch, 8) == [[0, 1], [2, 3]]


def test_a_sequence_longer_than_the_limit_is_a_micro_batch_of_its_own() -> None:
    assert packed(batch_of([rollout(2, 4, 1.0), rollout(2, 4, 1.0)]), 1) == [[0], [1]]


def test_rows_of_a_group_whose_prompts_differ_are_counted_with_both() -> None:
    # Tokens 1 2 | 3 4 and 1 2 3 | 4 5: prompts of 2 and 3, one token read of each completion.
    batch = batch_of([rollout(2, 2, 1.0), rollout(3, 2, 1.0)])
    assert packed(batch, 7) == [[0, 1]]
    assert packed(batch, 6) == [[1], [0]]  # 4 tokens, then 3
