import pytest
import torch

from tables import annotate, draw, forward, gradient, scalar, table
from whet.algorithms.dr_grpo import DrGRPO


def test_advantages_are_centred_and_not_scaled():
    batch = draw([".xx", "..x", ".x", "xx"], [1, 0, 0, 1], [0, 0, 0, 0])
    expected = [[0, 0.5, 0.5], [0, 0, -0.5], [0, -0.5, 0], [0.5, 0.5, 0]]
    assert DrGRPO().advantages(batch, {}).tolist() == expected


def test_the_loss_by_hand():
    # On-policy every surrogate is -A: 3 tokens of -0.5 and 1 of 0.5, over N = 2 times max_completion_length = 12.
    batch = annotate(DrGRPO(), draw([".xxx", "x"], [1, 0], [0, 0]), None)
    assert scalar(DrGRPO(), batch, forward(table(0), batch)).item() == pytest.approx(-1 / 24, abs=1e-15)


def test_the_length_of_one_completion_does_not_change_the_weight_of_another():
    rewards, group, logits = [1, 0], [0, 0], table(0)
    short = annotate(DrGRPO(), draw([".xx", ".xx"], rewards, group), None)
    long = annotate(DrGRPO(), draw([".xx", ".xxxxxxxx"], rewards, group), None)
    torch.testing.assert_close(
        gradient(DrGRPO(), long, logits, [[0]]), gradient(DrGRPO(), short, logits, [[0]])
    )


def test_the_upper_bound_defaults_to_epsilon():
    batch = annotate(DrGRPO(), draw(["xx", "xx"], [1, 0], [0, 0]), table(0) + table(1))
    stats = forward(table(0), batch)
    same = DrGRPO(epsilon=0.1, epsilon_high=0.1).policy_loss(batch, stats.logprobs)
    assert torch.equal(DrGRPO(epsilon=0.1).policy_loss(batch, stats.logprobs), same)
    assert not torch.equal(DrGRPO(epsilon=0.1, epsilon_high=5.0).policy_loss(batch, stats.logprobs), same)
