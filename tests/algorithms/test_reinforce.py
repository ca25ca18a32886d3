import dataclasses

import pytest
import torch

from tables import draw
from whet.algorithms.reinforce import Reinforce

BATCH = draw(["x"] * 4, [1, 0, 0, 3], [0, 1, 2, 3])  # mean 1, std sqrt((0 + 1 + 1 + 4) / 3) = sqrt(2)


def advantages(algorithm, memory=None, batch=BATCH):
    return algorithm.advantages(batch, {} if memory is None else memory).flatten().tolist()


def test_without_a_baseline_the_advantage_is_the_return():
    assert advantages(Reinforce(baseline="none")) == [1, 0, 0, 3]


def test_the_batch_baseline_is_the_mean_over_all_prompts():
    assert advantages(Reinforce()) == [0, -1, -1, 2]


def test_the_running_baseline_is_that_of_past_steps():
    algorithm, memory = Reinforce(baseline="running", running_decay=0.9), {}
    assert advantages(algorithm, memory) == [0, -1, -1, 2]  # the first step has no past: its own mean, 1
    later = draw(["x"] * 2, [3, 5], [0, 1])
    assert advantages(algorithm, memory, later) == pytest.approx([2, 4])  # b = 1
    assert advantages(algorithm, memory, later) == pytest.approx([1.7, 3.7])  # b = 0.9 * 1 + 0.1 * 4


def test_only_the_running_baseline_keeps_a_memory():
    for baseline, kept in [("none", set()), ("batch", set()), ("running", {"baseline"})]:
        memory = {}
        advantages(Reinforce(baseline=baseline), memory)
        assert set(memory) == kept


def test_normalised_returns_are_divided_by_their_standard_deviation():
    got = advantages(Reinforce(normalize_returns=True))
    assert got == pytest.approx([0, -1 / 1.414314, -1 / 1.414314, 2 / 1.414314], abs=1e-6)


def test_later_updates_carry_the_importance_weight_without_a_gradient_of_its_own():
    ones = torch.ones(1, 2, dtype=torch.float64)
    logprobs = torch.tensor([[-1.0, -2.0]], dtype=torch.float64).requires_grad_()
    old = torch.tensor([[-1.0, -2.0 - 0.693147180559945]], dtype=torch.float64)  # ratios 1 and 2
    batch = dataclasses.replace(draw(["xx"], [0.0], [0]), old_logprobs=old, advantages=3 * ones)
    loss = Reinforce().policy_loss(batch, logprobs)
    loss.sum().backward()
    assert loss[0].tolist() == pytest.approx([3.0, 12.0])  # -w A logp
    assert logprobs.grad[0].tolist() == pytest.approx([-3.0, -6.0])  # -w A
