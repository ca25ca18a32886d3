import dataclasses

import pytest
import torch

from tables import annotate, draw, forward, gradient, table
from whet.algorithms.rloo import RLOO
from whet.training.terms import loss_terms, reward_with_kl
from whet.types import TokenStats

BATCH = draw([".xxx", ".x", "xx", "x"], [1, 0, 0, 1], [0] * 4)


def test_the_baseline_is_the_mean_of_the_others():
    advantages = RLOO().advantages(BATCH, {}).sum(-1) / BATCH.loss_mask.sum(-1)
    assert advantages.tolist() == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3], abs=1e-15)


def test_on_policy_each_token_has_the_full_weight_of_its_completion():
    batch = annotate(RLOO(), BATCH, None)
    leaf = forward(table(0), batch).logprobs.requires_grad_()
    term = loss_terms(RLOO(), batch, TokenStats(logprobs=leaf, entropy=torch.zeros_like(leaf)))["policy"]
    (batch.loss_weights * term).sum().backward()
    expected = -batch.advantages / 4  # -A_i / N, without a length
    torch.testing.assert_close(leaf.grad, expected, rtol=0, atol=1e-15)


def test_the_ratio_is_that_of_the_whole_completion():
    old = table(0) + table(1, 0.2)
    batch = annotate(RLOO(), BATCH, old)
    leaf = table(0).requires_grad_()
    ratio = (forward(leaf, batch).logprobs - batch.old_logprobs).sum(-1).exp()
    advantage = torch.tensor([2 / 3, -2 / 3, -2 / 3, 2 / 3], dtype=torch.float64)
    textbook = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
    (expected,) = torch.autograd.grad(textbook, leaf)
    torch.testing.assert_close(gradient(RLOO(), batch, table(0)), expected, rtol=1e-12, atol=1e-12)


def test_kl_goes_into_the_reward_before_the_baseline():
    # Row 0 is 0.5 nats above the reference on each of its 3 tokens: its return is 1 - 0.1 * 1.5 = 0.85.
    zeros = torch.zeros(4, 4, dtype=torch.float64)
    ref = zeros.clone()
    ref[0] = -0.5
    algorithm = RLOO(beta=0.1)
    batch = dataclasses.replace(BATCH, old_logprobs=zeros, ref_logprobs=ref)
    batch = dataclasses.replace(batch, rewards=reward_with_kl(algorithm, batch))
    assert algorithm.advantages(batch, {})[0, 1].item() == pytest.approx(0.85 - 1 / 3, abs=1e-15)
    assert algorithm.advantages(batch, {})[3, 0].item() == pytest.approx(1 - 0.85 / 3, abs=1e-15)
