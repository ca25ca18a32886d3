"""One update, and what a non-finite number does to it: nothing."""

import dataclasses
import math
from typing import Any

import pytest
import torch

import tiny
from whet.algorithms.dr_grpo import DrGRPO
from whet.algorithms.grpo import GRPO
from whet.config import OptimizerConfig, SamplingConfig
from whet.distributed.world import World
from whet.rollouts.batch import make_batch
from whet.tracking.metrics import Metrics
from whet.training.objectives import Imitation, Reinforcement
from whet.training.optimizer import Optimizer
from whet.training.terms import with_advantages
from whet.training.update import Learner
from whet.types import Batch

REWARDS = [[1.0, 0.0, 0.5], [0.0, 1.0, 0.25]]


def ready(algorithm: Any = None) -> tuple[Learner, Batch]:
    policy = tiny.policy()
    batch = make_batch(
        tiny.groups(policy, REWARDS), SamplingConfig(max_completion_length=6), torch.device("cpu")
    )
    learner = Learner(policy, Optimizer(policy.module, OptimizerConfig()), 10**6, World())
    return learner, with_advantages(batch, algorithm or DrGRPO(), {})


def everything(learner: Learner) -> dict[str, torch.Tensor]:
    """Weights and moments."""
    weights = {f"weights/{n}": p.detach().clone() for n, p in learner.policy.module.named_parameters()}
    return weights | {name: tensor.clone() for name, tensor in learner.optimizer.state_tensors().items()}


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("place", ["one gradient", "one advantage", "one reward", "one logit"])
def test_a_non_finite_number_moves_neither_weights_nor_moments(place: str, bad: float) -> None:
    learner, batch = ready()
    objective = Reinforcement(DrGRPO(), True)
    learner.update(objective, batch, 0.01)  # now there are moments
    before, version = everything(learner), learner.policy.version
    module: Any = learner.policy.module
    dirty, undo = batch, lambda: None
    if place == "one gradient":
        handle = module.h[0].ln_1.bias.register_hook(lambda g: g.index_fill(0, torch.tensor([3]), bad))
        undo = handle.remove
    elif place == "one advantage":
        dirty = dataclasses.replace(batch, advantages=batch.advantages.clone())
        dirty.advantages[1, batch.lengths[1] - 1] = bad
    elif place == "one reward":
        rewards = batch.rewards.clone()
        rewards[1, batch.lengths[1] - 1] = bad
        dirty = with_advantages(dataclasses.replace(batch, rewards=rewards), DrGRPO(), {})
    else:
        head, kept = module.wte.weight.data, module.wte.weight.data.clone()
        head[2] = bad
        undo = lambda: head.copy_(kept)  # noqa: E731
    metrics = learner.update(objective, dirty, 0.01).values()
    undo()
    assert metrics["optim/skipped"] == 1
    after = everything(learner)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert learner.policy.version == version
    assert all(p.grad is None for p in learner.optimizer.parameters)
    clean = learner.update(objective, batch, 0.01).values()
    assert "optim/skipped" not in clean


def test_the_loss_of_an_update_is_the_one_sum_by_hand() -> None:
    # On-policy Dr. GRPO: every ratio is 1, so the loss is -sum_it A_i / (N * max_completion_length).
    learner, batch = ready()
    assert batch.advantages is not None
    expected = -float(batch.advantages.sum()) / (6 * 6)
    assert learner.update(Reinforcement(DrGRPO(), True), batch, 0.01).values()[
        "loss/policy"
    ] == pytest.approx(expected, abs=1e-7)


def test_the_gradient_is_that_of_finite_differences() -> None:
    # Off-policy GRPO with KL and entropy, float64: the sum of the terms and its gradient along a direction.
    algorithm = GRPO(beta=0.1, entropy_coef=0.05)
    learner, batch = ready(algorithm)
    learner.policy.module.double()
    noise = 0.1 * torch.randn(
        batch.rewards.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    batch = dataclasses.replace(
        batch,
        old_logprobs=batch.sampling_logprobs.double() + noise,
        ref_logprobs=batch.sampling_logprobs.double() - noise,
    )
    objective = Reinforcement(algorithm, False)
    parameters = learner.optimizer.parameters
    direction = [
        torch.randn(p.shape, generator=torch.Generator().manual_seed(i), dtype=p.dtype)
        for i, p in enumerate(parameters)
    ]

    def loss(step: float) -> float:
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p += step * d
        metrics = Metrics()
        value = sum(learner.backward(objective, batch, metrics).values())
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p -= step * d
        return value

    numeric = (loss(1e-6) - loss(-1e-6)) / 2e-6
    learner.optimizer.forget_gradient()
    loss(0.0)
    exact = sum(
        float((p.grad * d).sum()) for p, d in zip(parameters, direction, strict=True) if p.grad is not None
    )
    assert numeric == pytest.approx(exact, rel=1e-6)
    assert abs(exact) > 1e-3


def test_imitation_is_the_mean_negative_loglikelihood_per_token() -> None:
    learner, batch = ready()
    logprobs = learner.policy.forward(batch).logprobs.detach()
    expected = -float(logprobs[batch.loss_mask].mean())
    assert learner.update(Imitation(), batch, 0.01).values()["loss/nll"] == pytest.approx(expected, rel=1e-6)


def test_a_batch_without_any_advantage_moves_nothing_although_there_is_momentum() -> None:
    learner, batch = ready()
    learner.update(Reinforcement(DrGRPO(), True), batch, 0.01)
    before = everything(learner)
    still = dataclasses.replace(batch, advantages=torch.zeros_like(batch.rewards))
    metrics = learner.update(Reinforcement(DrGRPO(), True), still, 0.01).values()
    assert (metrics["optim/grad_norm"], "optim/skipped" in metrics) == (0.0, False)
    assert all(torch.equal(everything(learner)[name], tensor) for name, tensor in before.items())


def test_metrics_of_an_update_are_means_over_tokens_however_it_is_cut() -> None:
    # Rows differ in length: a mean of the micro-batches' means would differ.
    whole, cut = (
        dataclasses.replace(ready()[0], microbatch_tokens=size).update(
            Reinforcement(DrGRPO(num_iterations=2), True), _with_old(ready()[1]), 0.01
        )
        for size in (10**6, 1)
    )
    one, other = whole.values(), cut.values()
    assert one.keys() == other.keys() >= {"policy/entropy", "policy/kl_old", "policy/clip_frac"}
    assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    learner, batch = ready()
    entropy = learner.policy.forward(batch).entropy.detach()[batch.loss_mask]
    assert one["policy/entropy"] == pytest.approx(float(entropy.mean()), rel=1e-6)


def _with_old(batch: Batch) -> Batch:
    return dataclasses.replace(batch, old_logprobs=batch.sampling_logprobs - 0.3)
