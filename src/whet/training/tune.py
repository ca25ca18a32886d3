"""Which number of CPU threads makes the steps of a run fastest on this machine. Nothing is trained, nothing written."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from whet.config import Config, SamplingConfig
from whet.distributed.world import World
from whet.errors import ConfigError
from whet.interfaces import Policy
from whet.rollouts.annotate import annotate
from whet.rollouts.batch import make_batch, minibatches
from whet.rollouts.collect import collect
from whet.rollouts.demonstrations import DemonstrationSource, demonstrations
from whet.rollouts.prompts import PromptSampler
from whet.rollouts.reference import Reference, trained_tensors
from whet.runs.policy import pick_device
from whet.seeding import key
from whet.text.prompts import PromptEncoder
from whet.training.footprint import footprint
from whet.training.job import Data, build_policy
from whet.training.objectives import Imitation, Reinforcement
from whet.training.optimizer import Optimizer
from whet.training.settle import settled
from whet.training.terms import with_advantages
from whet.training.threads import available_cores, threads_for
from whet.training.update import Learner, Objective
from whet.types import Batch, RolloutGroup, Score

REPETITIONS = 2
"""Of each measurement, of which the shorter one counts: what a neighbour takes only ever adds."""
NEARLY = 1.05
"""A step that takes so many times the shortest one is as fast, and the fewer threads are the better choice."""
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds with a number of threads."""

    threads: int
    rollout_s: float
    """Sampling and scoring the completions of a step; about 0 where demonstrations are imitated."""
    update_s: float
    step_s: float
    """A rollout and all updates of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What was measured, and what the rule of `training.threads` says."""

    parameters: int
    cores: int
    updates: int
    """Of a step."""
    rule: int
    timings: tuple[Timing, ...]

    @property
    def fastest(self) -> int:
        """The fewest threads with which a step is as fast as can be."""
        limit = NEARLY * min(timing.step_s for timing in self.timings)
        return min(timing.threads for timing in self.timings if timing.step_s <= limit)


def tune(config: Config, on_timing: Callable[[Timing], None] = lambda timing: None) -> Tuning:
    """Measures the first step of a run with 1, 2, 4, ... threads, up to all cores; weights stay as they are.

    on_timing: hears of each measurement as it is made. Raises `ConfigError` for a config that runs on an accelerator,
    where threads are not what a step waits for, and whatever the run itself would raise before it begins.
    """
    if (device := pick_device(config.device)).type != "cpu":
        raise ConfigError(
            f"threads are tuned on a CPU, and this config would run on {device.type}: add device=cpu"
        )
    data = Data.load(config)
    policy = build_policy(config, data, CPU)
    parameters, cores = footprint(policy.module).parameters, available_cores()
    rule = threads_for(parameters, cores)
    trial = _Trial(settled(config, policy, data, CPU), data, policy)
    before = torch.get_num_threads()
    timings = []
    try:
        for threads in sorted({*(2**i for i in range(cores.bit_length())), cores, rule}):
            torch.set_num_threads(threads)
            timings.append(trial.timing(threads))
            on_timing(timings[-1])
    finally:
        torch.set_num_threads(before)
    return Tuning(
        parameters=parameters, cores=cores, updates=trial.updates, rule=rule, timings=tuple(timings)
    )


class _Trial:
    """The first step of a run, which can be made any number of times."""

    def __init__(self, config: Config, data: Data, policy: Policy) -> None:
        self._config, self._policy = config, policy
        self._encode = PromptEncoder(policy.tokenizer, config.prompt)
        self._engine = cast(Any, config.engine).build(policy)
        tokens = config.batch.token_limit
        self._learner = Learner(policy, Optimizer(policy.module, config.optimizer), tokens, World())
        is_rl = config.stage == "rl"
        self._drawn = (
            PromptSampler(data.train, config.seed).draw(config.batch.prompts_per_step) if is_rl else []
        )
        self.updates = config.algorithm.num_updates if is_rl else 1
        self._objective, self._minibatch = self._reinforced() if is_rl else self._imitated(data)

    def timing(self, threads: int) -> Timing:
        """Seconds of a rollout and of an update with the threads that torch now has."""
        rollout_s, update_s = _shortest(self._sample), _shortest(self._update)
        return Timing(threads, rollout_s, update_s, rollout_s + self.updates * update_s)

    def _sample(self) -> list[RolloutGroup]:
        config, count = self._config, self._config.batch.num_generations
        items = [
            (example, tuple(key(config.seed, "rollout", 1, i, sample) for sample in range(count)))
            for i, example in enumerate(self._drawn)
        ]
        return collect(self._engine, self._encode, items, config.task, config.sampling.params())

    def _update(self) -> None:
        """All of an update, at a rate of 0: it moves nothing."""
        self._learner.update(self._objective, self._minibatch, 0.0)

    def _reinforced(self) -> tuple[Objective, Batch]:
        """The first update of the step."""
        config, policy, algorithm = self._config, self._policy, self._config.algorithm
        batch = make_batch(_with_signal(self._sample()), config.sampling, CPU)
        reference = Reference(policy, trained_tensors(policy)) if algorithm.needs_reference else None
        batch = annotate(batch, algorithm, policy, reference, config.batch.token_limit)
        batch = with_advantages(batch, algorithm, {})
        rows = minibatches(batch, algorithm.num_minibatches)[0]
        return Reinforcement(algorithm, is_first_update=True), batch.rows(rows)

    def _imitated(self, data: Data) -> tuple[Objective, Batch]:
        config = self._config
        taught = demonstrations(self._policy, self._encode, data.train)
        source = DemonstrationSource(taught, config.seed, config.batch.prompts_per_step)
        return Imitation(), make_batch(source.take(1).admitted, SamplingConfig(), CPU)


def _with_signal(groups: Sequence[RolloutGroup]) -> list[RolloutGroup]:
    """Every other completion is right and none is cut off: of a new policy all may be wrong, and then nothing moves."""
    return [
        dataclasses.replace(
            group,
            rollouts=tuple(
                dataclasses.replace(rollout, score=Score(value=float(i % 2)), finish_reason="stop")
                for i, rollout in enumerate(group.rollouts)
            ),
        )
        for group in groups
    ]


def _shortest(work: Callable[[], object]) -> float:
    """Seconds."""
    seconds = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
