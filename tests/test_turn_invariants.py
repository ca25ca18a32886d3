"""What holds for every algorithm also where observations stand between the sampled tokens."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from test_invariants import NAMES, Spy, assert_same, build, learner_of, widened
from turn_tasks import played
from whet.config import SamplingConfig
from whet.interfaces import Algorithm
from whet.policies.from_scratch import FromScratchPolicy
from whet.rollouts.annotate import annotate
from whet.rollouts.batch import make_batch, microbatches
from whet.tracking.metrics import Metrics
from whet.training.objectives import Reinforcement
from whet.training.terms import with_advantages
from whet.types import Batch, RolloutGroup, Score

CPU = torch.device("cpu")
SAMPLING = SamplingConfig(max_completion_length=24)
VALUES = [[1.0, 0.0, 0.25, 0.5], [0.0, 1.0, 0.0], [1.0, 0.0], [0.75]]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def algorithm(name: str) -> Algorithm:
    settings = {"beta": 0.1, "entropy_coef": 0.05, "num_iterations": 2, "mask_truncated_completions": True}
    return build(name, **settings, tis=1.1)


def policy_of(seed: int, dtype: torch.dtype = torch.float32) -> FromScratchPolicy:
    policy = tiny.policy(seed, layers=2, context=32)
    policy.module.to(dtype)
    return policy


def groups(policy: FromScratchPolicy) -> list[RolloutGroup]:
    """Episodes that the policy really played, with scores by hand, so that every group has a signal."""
    return [
        dataclasses.replace(
            group,
            rollouts=tuple(
                dataclasses.replace(r, score=Score(value=v))
                for r, v in zip(group.rollouts, values, strict=True)
            ),
        )
        for group, values in zip(played(policy, max_completion_length=24), VALUES, strict=True)
    ]


def batch_of(algorithm: Algorithm) -> Batch:
    """Episodes of another policy, so that ratios are not 1, annotated as the trainer does it."""
    sampler, reference = policy_of(0), policy_of(2, torch.float64)
    with torch.no_grad():
        for parameter in sampler.module.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    batch = make_batch(groups(sampler), SAMPLING, CPU)
    assert interleaved(batch) > 3
    numbers: dict[str, Any] = {
        "rewards": batch.rewards.double(),
        "sampling_logprobs": batch.sampling_logprobs.double(),
    }
    batch = dataclasses.replace(batch, **numbers)
    sampler.module.double()
    return with_advantages(annotate(batch, algorithm, sampler, reference, 10**6), algorithm, {})


def interleaved(batch: Batch) -> int:
    """Rows that go on after an observation."""
    starts = batch.loss_mask[:, 1:] & ~batch.loss_mask[:, :-1]
    return int((starts.sum(-1) > 1).sum())


def gradient(algorithm: Algorithm, batch: Batch, microbatch_tokens: int, packs: bool = True) -> Tensor:
    learner = learner_of(policy_of(0, torch.float64), microbatch_tokens)
    learner.policy.packs = packs
    learner.backward(Reinforcement(algorithm, False), batch, Metrics())
    return torch.cat([p.grad.flatten() for p in learner.optimizer.parameters if p.grad is not None])


def test_padding_packing_and_cuts_do_not_change_the_gradient(algorithm: Algorithm) -> None:
    batch, dtype = batch_of(algorithm), torch.float64
    alone = gradient(algorithm, batch, 1, packs=False)  # one sequence at a time, padded
    assert_same(gradient(algorithm, widened(batch, 5), 10**6), alone, dtype)
    for microbatch_tokens in (1, 60):
        assert len(list(microbatches(batch, microbatch_tokens, True))) > 1
        assert_same(gradient(algorithm, batch, microbatch_tokens), alone, dtype)


def test_observations_get_no_gradient_and_answers_do(algorithm: Algorithm) -> None:
    batch, learner = batch_of(algorithm), learner_of(policy_of(0, torch.float64))
    spy = Spy(learner.policy)
    dataclasses.replace(learner, policy=spy).backward(Reinforcement(algorithm, False), batch, Metrics())
    (logprobs,) = spy.seen
    part = batch.rows(next(microbatches(batch, 10**6, True)))
    assert logprobs.grad is not None
    assert (logprobs.grad[~part.loss_mask] == 0).all()
    trained = part.loss_mask & ~part.truncated[:, None]
    assert (logprobs.grad[trained] != 0).any()


def test_the_sampler_said_what_the_trainer_says(name: str) -> None:
    policy, algorithm, metrics = policy_of(0), build(name), Metrics()
    batch = with_advantages(make_batch(groups(policy), SAMPLING, CPU), algorithm, {})
    learner_of(policy).backward(Reinforcement(algorithm, True), batch, metrics)
    assert 0 < metrics.values()["policy/sampling_gap_max"] < 1e-5


@pytest.mark.parametrize("microbatch_tokens", [1, 10**6])
def test_recorded_logprobs_equal_those_of_the_first_update_to_the_last_bit(
    name: str, microbatch_tokens: int
) -> None:
    algorithm, policy = build(name, num_iterations=2), policy_of(0)
    batch = make_batch(groups(policy), SAMPLING, CPU)
    batch = with_advantages(annotate(batch, algorithm, policy, None, microbatch_tokens), algorithm, {})
    metrics, spy = Metrics(), Spy(policy)
    learner = dataclasses.replace(learner_of(policy, microbatch_tokens), policy=spy)
    learner.backward(Reinforcement(algorithm, True), batch, metrics)
    for micro, logprobs in zip(microbatches(batch, microbatch_tokens, True), spy.seen, strict=True):
        assert torch.equal(logprobs, batch.rows(micro).old_logprobs)  # hence a ratio of e^0 = 1
    assert metrics.values()["policy/kl_old"] == 0.0


def test_what_an_observation_says_changes_later_answers_only() -> None:
    policy = policy_of(0)
    batch = make_batch(groups(policy), SAMPLING, CPU)
    mask = batch.loss_mask
    row = int((mask[:, 1:] & ~mask[:, :-1]).sum(-1).argmax())
    start = int(mask[row].int().argmax())
    first_end = start + int((~mask[row, start:]).int().argmax())  # the first observed token
    other = batch.token_ids.clone()
    other[row, first_end] = 1 + other[row, first_end] % 4
    with torch.no_grad():
        one, two = (
            policy.forward(dataclasses.replace(batch, token_ids=ids)).logprobs
            for ids in (batch.token_ids, other)
        )
    assert torch.allclose(one[row, :first_end], two[row, :first_end], atol=1e-6)
    later = mask[row, first_end:]
    assert ((one - two)[row, first_end:][later].abs() > 1e-6).any()
