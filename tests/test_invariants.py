"""What holds for every algorithm that ships, through the real policy, annotation and update."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from whet import registry
from whet.config import OptimizerConfig, SamplingConfig
from whet.distributed.world import World
from whet.interfaces import Algorithm
from whet.policies.from_scratch import FromScratchPolicy
from whet.rollouts.annotate import annotate
from whet.rollouts.batch import make_batch, microbatches, minibatches
from whet.tracking.metrics import Metrics
from whet.training import launch
from whet.training.objectives import Reinforcement
from whet.training.optimizer import Optimizer
from whet.training.terms import with_advantages
from whet.training.update import Learner
from whet.types import Batch

NAMES = registry.names("algorithms")
GROUP_BASELINE = {"rloo", "grpo", "dr_grpo", "bnpo", "dapo", "gspo", "cispo"}
# Groups of 4, 3 (one reward failed), 2 and 1; multiples of 1/4, so that means are exact in any order.
REWARDS = [[1.0, 0.0, 0.25, 0.5], [0.0, None, 1.0, 0.0], [1.0, 0.0], [0.75]]
CPU = torch.device("cpu")
SAMPLING = SamplingConfig(max_completion_length=6)
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def algorithm(name: str) -> Algorithm:
    """With every term there is, off-policy, corrected for the sampler, and truncated completions masked."""
    settings = {"beta": 0.1, "entropy_coef": 0.05, "num_iterations": 2, "mask_truncated_completions": True}
    return build(name, **settings, tis=1.1)


def build(name: str, **settings: Any) -> Algorithm:
    return registry.build("algorithms", {"name": name, **settings})  # type: ignore[return-value]


def policy_in(dtype: torch.dtype, seed: int = 0) -> FromScratchPolicy:
    policy = tiny.policy(seed, layers=2)
    policy.module.to(dtype)
    return policy


def batch_of(
    algorithm: Algorithm, dtype: torch.dtype, width: int = 0, order: Sequence[int] = range(10)
) -> Batch:
    """Rollouts of another policy, so that ratios are not 1, annotated as the trainer does it.

    The sampler says log-probabilities 0.2 off in both directions, as if it computed in coarser numbers.
    """
    sampler, reference = tiny.policy(0, layers=2), policy_in(dtype, seed=2)
    with torch.no_grad():
        for parameter in sampler.module.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    batch = make_batch(tiny.groups(sampler, REWARDS), SAMPLING, CPU).rows(torch.tensor(order))
    batch = widened(batch, width)
    said = batch.sampling_logprobs + (batch.token_ids % 3 - 1) * 0.2
    numbers = {"rewards": batch.rewards.to(dtype), "sampling_logprobs": said.to(dtype)}
    batch = dataclasses.replace(batch, **numbers)
    sampler.module.to(dtype)
    return with_advantages(annotate(batch, algorithm, sampler, reference, 10**6), algorithm, {})


def widened(batch: Batch, width: int) -> Batch:
    """More columns on the right, junk where tokens stand."""
    junk = {"token_ids": 3, "rewards": 0.0, "sampling_logprobs": -5.0, "loss_mask": False}
    wide = {n: torch.nn.functional.pad(getattr(batch, n), (0, width), value=v) for n, v in junk.items()}
    return dataclasses.replace(batch, **wide)  # type: ignore[arg-type]


def learner_of(policy: FromScratchPolicy, microbatch_tokens: int = 10**6) -> Learner:
    return Learner(policy, Optimizer(policy.module, OptimizerConfig()), microbatch_tokens, World())


def gradient(
    algorithm: Algorithm, batch: Batch, dtype: torch.dtype, microbatch_tokens: int = 10**6
) -> Tensor:
    learner = learner_of(policy_in(dtype), microbatch_tokens)
    learner.backward(Reinforcement(algorithm, False), batch, Metrics())
    return torch.cat([p.grad.flatten() for p in learner.optimizer.parameters if p.grad is not None])


def assert_same(one: Tensor, other: Tensor, dtype: torch.dtype) -> None:
    assert one.shape == other.shape
    assert one.norm() > 1e-3
    assert (one - other).norm() / one.norm() < TOLERANCE[dtype]


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param  # type: ignore[no-any-return]


def test_padding_does_not_change_the_gradient(algorithm: Algorithm, dtype: torch.dtype) -> None:
    narrow = gradient(algorithm, batch_of(algorithm, dtype), dtype)
    assert_same(gradient(algorithm, batch_of(algorithm, dtype, width=9), dtype), narrow, dtype)


@pytest.mark.parametrize("microbatch_tokens", [1, 10, 18])
def test_cutting_the_update_does_not_change_the_gradient(
    algorithm: Algorithm, dtype: torch.dtype, microbatch_tokens: int
) -> None:
    batch = batch_of(algorithm, dtype)
    assert len(list(microbatches(batch, microbatch_tokens, True))) > 1
    whole = gradient(algorithm, batch, dtype)
    assert_same(gradient(algorithm, batch, dtype, microbatch_tokens), whole, dtype)


def test_the_order_of_the_rows_does_not_change_the_gradient(algorithm: Algorithm, dtype: torch.dtype) -> None:
    batch, shuffled = (
        batch_of(algorithm, dtype, order=o) for o in (range(10), [5, 2, 9, 0, 7, 3, 8, 1, 6, 4])
    )
    assert shuffled.group.tolist() == [1, 0, 3, 0, 2, 0, 2, 0, 1, 1]
    assert_same(gradient(algorithm, shuffled, dtype, 20), gradient(algorithm, batch, dtype, 20), dtype)


def test_packing_does_not_change_the_gradient(algorithm: Algorithm, dtype: torch.dtype) -> None:
    batch = batch_of(algorithm, dtype)
    learner = learner_of(policy_in(dtype), 1)  # one sequence at a time, padded
    learner.policy.packs = False
    learner.backward(Reinforcement(algorithm, False), batch, Metrics())
    alone = torch.cat([p.grad.flatten() for p in learner.optimizer.parameters if p.grad is not None])
    assert_same(gradient(algorithm, batch, dtype), alone, dtype)


def test_truncated_completions_give_no_gradient_when_masked(algorithm: Algorithm) -> None:
    batch = batch_of(algorithm, torch.float32)
    assert batch.truncated.tolist().count(True) in range(1, 10)
    learner = learner_of(policy_in(torch.float32))
    spy = Spy(learner.policy)
    dataclasses.replace(learner, policy=spy).backward(Reinforcement(algorithm, False), batch, Metrics())
    (logprobs,) = spy.seen
    assert logprobs.grad is not None
    truncated = batch.truncated[next(microbatches(batch, 10**6, True))]
    assert (logprobs.grad[truncated] == 0).all()
    assert (logprobs.grad[~truncated] != 0).any()


class Spy:
    """A policy that keeps the log-probabilities that it gave, with their gradients."""

    def __init__(self, policy: FromScratchPolicy) -> None:
        self._policy = policy
        self.packs = policy.packs
        self.seen: list[Tensor] = []

    def forward(self, batch: Batch, want: frozenset[Any] = frozenset()) -> Any:
        stats = self._policy.forward(batch, want)
        stats.logprobs.retain_grad()
        self.seen.append(stats.logprobs)
        return stats


@pytest.mark.parametrize("microbatch_tokens", [1, 20, 10**6])
def test_recorded_logprobs_equal_those_of_the_first_update_to_the_last_bit(
    name: str, microbatch_tokens: int
) -> None:
    algorithm, policy = build(name, num_minibatches=2), tiny.policy(0, layers=2)
    batch = make_batch(tiny.groups(policy, REWARDS), SAMPLING, CPU)
    batch = annotate(batch, algorithm, policy, None, microbatch_tokens)
    batch = with_advantages(batch, algorithm, {})
    for rows in minibatches(batch, 2):
        minibatch, metrics, spy = batch.rows(rows), Metrics(), Spy(policy)
        learner = dataclasses.replace(learner_of(policy, microbatch_tokens), policy=spy)
        learner.backward(Reinforcement(algorithm, True), minibatch, metrics)
        for micro, logprobs in zip(microbatches(minibatch, microbatch_tokens, True), spy.seen, strict=True):
            assert torch.equal(logprobs, minibatch.rows(micro).old_logprobs)  # hence a ratio of e^0 = 1
        assert metrics.values()["policy/kl_old"] == 0.0
        assert metrics.values()["policy/clip_frac"] == 0.0


def test_the_sampler_said_what_the_trainer_says(name: str) -> None:
    policy = tiny.policy(0, layers=2)
    algorithm = build(name)
    batch = with_advantages(make_batch(tiny.groups(policy, REWARDS), SAMPLING, CPU), algorithm, {})
    metrics = Metrics()
    learner_of(policy).backward(Reinforcement(algorithm, True), batch, metrics)
    assert 0 < metrics.values()["policy/sampling_gap_max"] < 1e-5


@pytest.mark.parametrize("name", sorted(GROUP_BASELINE))
def test_advantages_of_a_group_sum_to_zero(name: str) -> None:
    algorithm = build(name)
    policy = tiny.policy(0, layers=2)
    batch = with_advantages(make_batch(tiny.groups(policy, REWARDS), SAMPLING, CPU), algorithm, {})
    assert batch.advantages is not None
    per_row = batch.advantages.amax(-1) + batch.advantages.amin(-1)  # one value a row, zeros elsewhere
    sums = torch.zeros(4).index_add(0, batch.group, per_row)
    assert per_row[:3].abs().min() > 0.05
    assert sums.abs().max() < 1e-6


@pytest.mark.parametrize(
    "name",
    [n if n == "dr_grpo" else pytest.param(n, marks=pytest.mark.slow) for n in NAMES],
    indirect=True,
)
def test_evaluation_and_probes_leave_the_run_as_it_is(name: str, tmp_path: Path) -> None:
    plain = {
        "max_steps": 2,
        "algorithm": {"name": name, "num_minibatches": 2},
        "batch": {"prompts_per_step": 4},
    }
    watched = plain | {
        "eval_every": 1,
        "eval": {"at_start": True, "at_end": True, "greedy": True},
        "probes": [*registry.names("probes"), "rude_probe:Rude"],
    }
    one, other = (
        tiny.outcome(launch.start(tiny.config(tmp_path / str(i), **settings)))
        for i, settings in enumerate((plain, watched))
    )
    assert one["files"] == other["files"]
    assert one["rollouts"] == other["rollouts"]
    for alone, seen in zip(one["log"], other["log"][1:3], strict=True):
        assert alone.items() <= seen.items()
    assert other["log"][1]["rude/noise"] > 0
    assert other["log"][1]["gradient_noise/trace"] != 0
