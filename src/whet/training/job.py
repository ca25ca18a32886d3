"""A run made ready: policy, engine, source, optimizer and logs, built once from its config and its checkpoint."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from whet import sandbox
from whet.config import Config
from whet.distributed.world import World
from whet.errors import DataError, Interrupted
from whet.evals.evaluate import EvalPlan, plan_of
from whet.interfaces import Engine, Policy, Source, Task, Tracker
from whet.rollouts.collect import check_prompts
from whet.rollouts.demonstrations import DemonstrationSource, demonstrations
from whet.rollouts.episodes import check_turns
from whet.rollouts.inline import InlineSource
from whet.rollouts.prompts import PromptSampler
from whet.rollouts.reference import Reference
from whet.runs.directory import RunDirectory, resolve
from whet.runs.policy import MODEL, load_policy
from whet.text.prompts import PromptEncoder
from whet.tracking.jsonl import JsonlLog
from whet.tracking.open import RunView, build_trackers
from whet.training.failures import check_rewards
from whet.training.optimizer import Optimizer, learning_rate
from whet.training.probes import Probes
from whet.training.state import RunState
from whet.training.stop import Condition, StopSignal
from whet.training.timing import Timer
from whet.training.update import Learner
from whet.types import Example


@dataclass(frozen=True, slots=True)
class Data:
    """What a run trains and is measured on, checked before anything heavy is built."""

    train: Sequence[Example]
    plan: EvalPlan

    @classmethod
    def load(cls, config: Config) -> Data:
        """Raises `DataError` for an empty training set, and for one that shares a question with the evaluation set.

        A reward that cannot score the first example's own solution raises `VerifierError`.
        """
        sandbox.use(config.sandbox)
        train = config.task.examples("train")
        if config.stage == "sft":
            train = [e for e in train if e.demonstration is not None] or train
        if not train:
            more = ": task.train_path names a file of them" if hasattr(config.task, "train_path") else ""
            raise DataError(f"the train split of {config.task.name} has no examples{more}")
        plan = plan_of(config, train)
        for task, examples in _rewarded(config, train, plan):
            check_rewards(task, examples, config.eval.threshold)
        return cls(train, plan)

    def within(self, config: Config) -> Data:
        """The same data, evaluated with the micro-batches of a config that is settled."""
        return dataclasses.replace(
            self, plan=dataclasses.replace(self.plan, microbatch_tokens=config.batch.token_limit)
        )

    def texts(self, task: Task) -> list[str]:
        """What a new tokenizer is made from: training text only, and what episodes of the task may say."""
        return [*(e.prompt + (e.demonstration or e.answer) for e in self.train), *task.observed_texts()]


def _rewarded(
    config: Config, train: Sequence[Example], plan: EvalPlan
) -> Iterator[tuple[Task, Sequence[Example]]]:
    """The examples of each task whose rewards the run will ask for."""
    if config.stage == "rl":
        yield config.task, train
    is_measured = config.eval.at_start or config.eval.at_end or config.eval_every > 0
    if is_measured and plan.task.is_scored and (config.stage == "sft" or config.eval.task is not None):
        yield plan.task, plan.examples


@dataclass(frozen=True, slots=True)
class Horizon:
    """How long a run goes, and over how many steps its schedules stretch."""

    max_steps: int
    schedule_steps: int

    @classmethod
    def of(cls, config: Config, num_examples: int) -> Horizon:
        """From `max_steps` and `num_epochs`, whichever ends first."""
        per_epoch = num_examples / config.batch.prompts_per_step
        by_epochs = math.ceil(config.num_epochs * per_epoch) if config.num_epochs else None
        steps = min(n for n in (config.max_steps, by_epochs) if n is not None)
        return cls(steps, config.optimizer.schedule_steps or steps)


@dataclass(slots=True, kw_only=True)
class Job:
    """What the loop works with."""

    config: Config
    run: RunDirectory
    horizon: Horizon
    data: Data
    learner: Learner
    engine: Engine
    source: Source
    state: RunState
    stop: StopSignal
    probes: Probes
    reference: Reference | None = None
    condition: Condition | None = None
    timer: Timer = field(default_factory=Timer)
    trackers: list[Tracker] = field(default_factory=list)
    rollouts_log: JsonlLog | None = None
    started: float = field(default_factory=time.perf_counter)

    @property
    def policy(self) -> Policy:
        """What is being trained."""
        return self.learner.policy

    @property
    def seconds(self) -> float:
        """Wall time of the run, earlier sittings included."""
        return self.state.seconds + time.perf_counter() - self.started

    @property
    def device(self) -> torch.device:
        """Where the policy lives."""
        return next(self.policy.module.parameters()).device

    @property
    def rate(self) -> float:
        """The learning rate of the step under way."""
        return learning_rate(self.state.step + 1, self.config.optimizer, self.horizon.schedule_steps)

    @property
    def logs(self) -> dict[str, Path]:
        """The logs whose length is part of the state."""
        return {"train_log": self.run.train_log, "rollouts": self.run.rollouts_log}

    def raise_if_stopped(self) -> None:
        """Raises `Interrupted` once a signal has arrived."""
        if self.stop():
            raise Interrupted


def build_policy(config: Config, data: Data, device: torch.device) -> Policy:
    """The policy of a new run, prompts and demonstrations checked against its context."""
    policy = _new_policy(config, data, device)
    encode = PromptEncoder(policy.tokenizer, config.prompt)
    for examples in (data.train, data.plan.examples):
        check_prompts(examples, encode, config.sampling, policy.context_length)
    for task, examples in ((config.task, data.train), (data.plan.task, data.plan.examples)):
        check_turns(task, examples, encode)
    if config.warm_start is not None or config.stage == "sft":
        demonstrations(policy, encode, data.train)
    return policy


def origin(config: Config) -> Path | None:
    """The checkpoint that `init_from` names; None where the policy is a new one. Raises `RunError` for a bad name."""
    if config.init_from is None:
        return None
    run, which = resolve(config.init_from, config.runs_root)
    return run.checkpoint(which or "latest")


def _new_policy(config: Config, data: Data, device: torch.device) -> Policy:
    if (path := origin(config)) is not None:
        return load_policy(path / MODEL, device, config.policy)
    return cast(Policy, cast(Any, config.policy).build(data.texts(config.task), config.seed, device))


def build_job(
    config: Config, run: RunDirectory, data: Data, policy: Policy, state: RunState, stop: StopSignal
) -> Job:
    """Engine, source and optimizer around a policy."""
    engine = cast(Engine, cast(Any, config.engine).build(policy))
    learner = Learner(policy, Optimizer(policy.module, config.optimizer), config.batch.token_limit, World())
    return Job(
        config=config,
        run=run,
        horizon=Horizon.of(config, len(data.train)),
        data=data,
        learner=learner,
        engine=engine,
        source=_source(config, data, policy, engine, stop),
        state=state,
        stop=stop,
        probes=Probes(config.probes, state, learner),
        condition=Condition(config.stop.when) if config.stop.when else None,
    )


def _source(config: Config, data: Data, policy: Policy, engine: Engine, stop: StopSignal) -> Source:
    encode = PromptEncoder(policy.tokenizer, config.prompt)
    if config.stage == "sft":
        taught = demonstrations(policy, encode, data.train)
        return DemonstrationSource(taught, config.seed, config.batch.prompts_per_step)
    sampler = PromptSampler(data.train, config.seed)
    return InlineSource(config, config.task, sampler, engine, encode, stop)


def open_logs(job: Job) -> None:
    """Opens trackers and the log of rollouts, and takes back what they hold beyond the state."""
    for name, path in job.logs.items():
        log = JsonlLog(path)
        log.truncate(job.state.log_sizes.get(name, 0))
        log.close()
    job.rollouts_log = JsonlLog(job.run.rollouts_log) if job.config.log_completions else None
    view = RunView(
        directory=job.run.path,
        train_log=job.run.train_log,
        tensorboard=job.run.tensorboard,
        max_steps=job.horizon.max_steps,
        resume_step=job.state.step or None,
    )
    job.trackers = build_trackers(job.config.trackers, view)
