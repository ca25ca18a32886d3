import dataclasses

import pytest
import torch

from tables import draw
from whet.algorithms.dapo import DAPO
from whet.types import Example, Rollout, RolloutGroup, Score


def penalties(algorithm, lengths, limit, **changes):
    batch = draw(["." + "x" * length for length in lengths], [0.0] * len(lengths), [0] * len(lengths))
    batch = dataclasses.replace(batch, max_completion_length=limit, **changes)
    shaped = algorithm.shape(batch)
    assert torch.equal(shaped.sum(-1), shaped.gather(1, batch.lengths[:, None] - 1)[:, 0]), (
        "elsewhere than at the last"
    )
    return shaped.sum(-1).tolist()


def test_the_overlong_penalty_grows_over_the_buffer():
    # Free up to 10 - 4 = 6 tokens, then 1/4 per token.
    assert penalties(DAPO(overlong_buffer=4), [1, 6, 7, 8, 10], 10) == [0, 0, -0.25, -0.5, -1]


def test_the_overlong_penalty_of_the_paper():
    assert penalties(DAPO(overlong_buffer=4096), [18432], 20480) == [-0.5]  # 2048 of 4096 into the buffer


def test_the_overlong_penalty_has_a_weight():
    assert penalties(DAPO(overlong_buffer=4, overlong_penalty=0.5), [8], 10) == [-0.25]


def test_a_truncated_completion_is_at_the_limit_even_when_it_is_masked():
    empty, truncated = torch.zeros(1, 11, dtype=torch.bool), torch.tensor([True])
    assert penalties(DAPO(overlong_buffer=4), [10], 10, loss_mask=empty, truncated=truncated) == [-1]


def test_the_penalty_is_added_to_the_reward_and_off_by_default():
    batch = dataclasses.replace(draw([".xx"], [1.0], [0]), max_completion_length=2)
    assert DAPO(overlong_buffer=1).shape(batch).tolist() == [[0, 0, 0.0]]
    assert DAPO().shape(batch).tolist() == [[0, 0, 1.0]]


@pytest.mark.parametrize(
    ("values", "kept"), [([1, 0], True), ([1, 1], False), ([0, 0], False), ([0.5, None], False)]
)
def test_groups_whose_rewards_are_all_equal_are_refused(values, kept):
    example = Example(id="1", prompt="?")
    scores = [Score.failed("error", "") if v is None else Score(value=v) for v in values]
    rollouts = tuple(
        Rollout(
            example=example, token_ids=(1,), loss_mask=(True,), sampling_logprobs=(0.0,), finish_reason="stop",
            policy_version=0, text="", score=score,
        )
        for score in scores
    )  # fmt: skip
    assert DAPO().keep(RolloutGroup(example=example, rollouts=rollouts)) is kept


@pytest.mark.parametrize(("ratio", "loss"), [(1.25, -1.25), (1.4, -1.28), (0.7, -0.7)])
def test_there_is_more_room_upwards(ratio, loss):
    batch = draw(["x"], [0.0], [0])
    one = torch.ones(1, 1, dtype=torch.float64)
    batch = dataclasses.replace(batch, old_logprobs=0 * one, advantages=one)
    assert DAPO().policy_loss(batch, (ratio * one).log()).item() == pytest.approx(loss, abs=1e-12)
