"""The estimates of signal and noise against exact enumeration."""

import dataclasses
import itertools

import pytest
import torch

import tiny
from whet.algorithms.dr_grpo import DrGRPO
from whet.config import OptimizerConfig, SamplingConfig
from whet.distributed.world import World
from whet.probes.gradient_noise import GradientNoise
from whet.rollouts.batch import make_batch
from whet.tracking.metrics import Metrics
from whet.training.objectives import Reinforcement
from whet.training.optimizer import Optimizer
from whet.training.probes import MinibatchLoss
from whet.training.terms import with_advantages
from whet.training.update import Learner

POPULATION = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 0.5], [-2.0, 1.0]], dtype=torch.float64)


class Shares:
    """The loss of an update whose groups have given gradients."""

    def __init__(self, gradients: torch.Tensor) -> None:
        self._gradients = gradients

    def gradient(self, rows: torch.Tensor) -> torch.Tensor:
        # Two rows a group: group g is rows 2g and 2g + 1, and its share of the update is g_i / P.
        assert rows.tolist() == [rows[0], rows[0] + 1]
        return self._gradients[rows[0] // 2] / len(self._gradients)


def estimates(gradients: torch.Tensor) -> dict[str, float]:
    group = torch.arange(len(gradients)).repeat_interleave(2)
    batch = dataclasses.replace(make_batch([], SamplingConfig(), torch.device("cpu")), group=group)
    return dict(GradientNoise().before_update(batch, Shares(gradients)))


def test_both_estimates_are_unbiased_over_all_ordered_draws_of_four_groups() -> None:
    # Mean gradient (0.5, 0.625): |G|^2 = 0.25 + 0.390625. Variances 3.25 and 1.171875: their sum is the trace.
    draws = [estimates(POPULATION[list(d)]) for d in itertools.product(range(4), repeat=4)]
    means = {name: sum(d[name] for d in draws) / 256 for name in draws[0]}
    assert means["gradient_noise/squared_norm"] == pytest.approx(0.640625, abs=1e-12)
    assert means["gradient_noise/trace"] == pytest.approx(4.421875, abs=1e-12)


def test_one_draw_by_hand() -> None:
    # The four gradients once each: |G_4|^2 = 0.640625, mean |g|^2 = (5 + 10 + 0.25 + 5) / 4 = 5.0625.
    found = estimates(POPULATION)
    assert found["gradient_noise/squared_norm"] == pytest.approx(
        (4 * 0.640625 - 5.0625) / 3
    )  # negative, and kept
    assert found["gradient_noise/trace"] == pytest.approx((5.0625 - 0.640625) / 0.75)


def test_equal_gradients_are_all_signal() -> None:
    found = estimates(POPULATION[[0, 0, 0]])
    assert found["gradient_noise/squared_norm"] == pytest.approx(5.0)
    assert found["gradient_noise/trace"] == pytest.approx(0.0, abs=1e-12)


def test_one_group_says_nothing() -> None:
    assert estimates(POPULATION[:1]) == {}


@pytest.mark.parametrize("microbatch_tokens", [1, 20, 10**6])
def test_the_shares_of_the_groups_add_up_to_the_gradient_of_the_update(microbatch_tokens: int) -> None:
    policy = tiny.policy()
    groups = tiny.groups(policy, [[1.0, 0.0, 0.5], [0.0, 1.0], [0.25, 0.5, 1.0, 0.0]])
    batch = make_batch(groups, SamplingConfig(max_completion_length=6), torch.device("cpu"))
    algorithm = DrGRPO(entropy_coef=0.1)
    batch, objective = with_advantages(batch, algorithm, {}), Reinforcement(algorithm, True)
    learner = Learner(policy, Optimizer(policy.module, OptimizerConfig()), microbatch_tokens, World())
    loss_of = MinibatchLoss(learner, objective, learner.weighted(objective, batch))
    parts = [(batch.group == g).nonzero()[:, 0] for g in range(3)]
    shares = torch.stack([loss_of.gradient(rows) for rows in parts])
    value = sum(float(loss_of(rows).detach()) for rows in parts)
    losses = learner.backward(objective, batch, Metrics())
    whole = torch.cat([p.grad.flatten() for p in learner.optimizer.parameters])
    torch.testing.assert_close(shares.sum(0), whole, rtol=1e-4, atol=1e-7)
    assert shares[0].norm() > 1e-3
    assert value == pytest.approx(sum(losses.values()), abs=1e-6)
