import dataclasses

import pytest
import torch

from tables import annotate, draw, forward, gradient, table
from whet.algorithms.gspo import GSPO
from whet.functional.masking import row_means

OLD = table(0) + table(1, 0.2)


@pytest.mark.parametrize("rewards", [[1, 0], [0, 1]])
def test_the_loss_is_that_of_one_ratio_per_sequence(rewards):
    # The narrow bounds of the paper and bounds that nothing reaches.
    for algorithm in (GSPO(), GSPO(epsilon=0.9, epsilon_high=9.0)):
        batch = annotate(algorithm, draw([".xxx", ".xx"], rewards, [0, 0]), OLD)
        leaf = table(0).requires_grad_()
        stats = forward(leaf, batch)
        ratio = row_means(stats.logprobs - batch.old_logprobs, batch.loss_mask).exp()
        advantage = (2 * torch.tensor(rewards).double() - 1) * 0.5 / (0.5**0.5 + 1e-4)
        bounded = ratio.clamp(1 - algorithm.epsilon, 1 + algorithm.epsilon_high)
        textbook = -torch.minimum(ratio * advantage, bounded * advantage).mean()
        (expected,) = torch.autograd.grad(textbook, leaf)
        torch.testing.assert_close(gradient(algorithm, batch, table(0)), expected, rtol=1e-12, atol=1e-12)
        assert expected.norm() > 0.1 or algorithm.epsilon < 0.9


def test_a_sequence_is_clipped_as_a_whole():
    # Mean log ratio of row 0 is +0.01, beyond 4e-4, with A > 0: all of it is dead, though one token fell.
    batch = draw(["xx", "xx"], [1, 0], [0, 0])
    old = torch.zeros(2, 2, dtype=torch.float64)
    logprobs = torch.tensor([[0.03, -0.01], [0.0, 0.0]], dtype=torch.float64).requires_grad_()
    batch = dataclasses.replace(batch, old_logprobs=old, advantages=GSPO().advantages(batch, {}))
    GSPO().policy_loss(batch, logprobs).sum().backward()
    assert (logprobs.grad[0] == 0).all()
    assert (logprobs.grad[1] != 0).all()


def test_a_completion_twice_as_long_has_the_same_weight():
    weights = [
        annotate(GSPO(), draw(["x" * n, "x"], [1, 0], [0, 0]), None).loss_weights[0].sum().item()
        for n in (3, 6)
    ]
    torch.testing.assert_close(weights, [0.5, 0.5])  # 1 / N
