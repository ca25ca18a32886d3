"""The warm start: supervised steps on demonstrations, completion tokens only, through the same update as RL."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from statistics import fmean

import torch

from whet.config import SamplingConfig, WarmStartConfig
from whet.distributed.world import World
from whet.errors import DataError, Interrupted
from whet.interfaces import Policy
from whet.rollouts.batch import make_batch
from whet.rollouts.prompts import PromptSampler
from whet.tracking.metrics import Metrics
from whet.training.objectives import Imitation
from whet.training.optimizer import Optimizer, learning_rate
from whet.training.update import Learner
from whet.types import Batch, Example, Rollout, RolloutGroup, Score

AVERAGED_STEPS = 10
"""Steps whose mean loss is held against `target_nll`."""


def warm_start(
    policy: Policy,
    examples: Sequence[Example],
    config: WarmStartConfig,
    seed: int,
    should_stop: Callable[[], bool],
    report: Callable[[int, Metrics], None],
) -> None:
    """Trains the policy on the demonstrations of the examples; a function of the seed alone.

    Raises `DataError` for demonstrations that cannot be used, `Interrupted` between two steps.
    """
    taught = demonstrations(policy, examples)
    by_id = {r.example.id: r for r in taught}
    prompts = PromptSampler([r.example for r in taught], seed)
    device = next(policy.module.parameters()).device
    learner = Learner(policy, Optimizer(policy.module, config.optimizer), config.microbatch_tokens, World())
    recent: deque[float] = deque(maxlen=AVERAGED_STEPS)
    for step in range(1, config.steps + 1):
        if should_stop():
            raise Interrupted
        rollouts = [by_id[e.id] for e in prompts.draw(config.batch_size)]
        batch = _batch(rollouts, device)
        metrics = learner.update(Imitation(), batch, learning_rate(step, config.optimizer, config.steps))
        report(step, metrics)
        recent.append(metrics.values().get("loss/nll", math.inf))
        if (
            config.target_nll is not None
            and len(recent) == AVERAGED_STEPS
            and fmean(recent) <= config.target_nll
        ):
            break


def demonstrations(policy: Policy, examples: Sequence[Example]) -> list[Rollout]:
    """The demonstrations as rollouts; raises `DataError` when there is none, or one exceeds the context."""
    taught = [_demonstration(e, policy) for e in examples if e.demonstration is not None]
    if not taught:
        raise DataError(
            "warm_start needs demonstrations, and no example of the task has one; remove warm_start"
        )
    return taught


def _batch(rollouts: Sequence[Rollout], device: torch.device) -> Batch:
    groups = [RolloutGroup(example=r.example, rollouts=(r,)) for r in rollouts]
    return make_batch(groups, SamplingConfig(), device)


def _demonstration(example: Example, policy: Policy) -> Rollout:
    """The demonstration as a rollout that the policy might have sampled."""
    assert example.demonstration is not None
    prompt = policy.tokenizer.encode(example.prompt)
    completion = [*policy.tokenizer.encode(example.demonstration), policy.tokenizer.eos_id]
    length = len(prompt) + len(completion)
    if length > policy.context_length:
        raise DataError(
            f"prompt and demonstration of {example.id} have {length} tokens; policy.context_length is "
            f"{policy.context_length}"
        )
    return Rollout(
        example=example,
        token_ids=(*prompt, *completion),
        loss_mask=(False,) * len(prompt) + (True,) * len(completion),
        sampling_logprobs=(0.0,) * length,
        finish_reason="stop",
        policy_version=policy.version,
        text=example.demonstration,
        score=Score(value=0.0),
    )
