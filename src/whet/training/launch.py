"""Starts a run, or takes it up again: lock, directory, warm start, the line, evaluations, and the end written down."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from whet import keys
from whet.allocator import keep_freed_memory
from whet.config import Config, WarmStartConfig, dump_config, load_config
from whet.errors import Interrupted, RunError, WhetError
from whet.evals.metrics import Metrics as Intervals
from whet.evals.plots import plot_run
from whet.rollouts.demonstrations import demonstrations
from whet.rollouts.reference import Reference, trained_tensors
from whet.runs import checkpoint, environment, reader
from whet.runs.directory import RunDirectory, State
from whet.runs.files import read_tensors, write_tensors
from whet.runs.policy import MODEL, load_policy, pick_device, set_threads, settings_at
from whet.text.prompts import PromptEncoder
from whet.tracking.metrics import Metrics
from whet.tracking.open import check_trackers
from whet.training.finish import log, measure
from whet.training.job import Data, Horizon, Job, build_job, build_policy, open_logs, origin
from whet.training.rl import learn
from whet.training.saving import restore, save
from whet.training.settle import settled
from whet.training.sft import imitate
from whet.training.state import RunState
from whet.training.stop import Condition, StopSignal
from whet.training.warm_start import WarmStart

_TENSORS = "reference.safetensors"
_log = logging.getLogger(__name__)


def start(config: Config) -> RunDirectory:
    """Trains a new run to its end and returns its directory. What can be wrong is found before it is made."""
    device = _prepare(config)
    config = _with_origin(config)
    data = Data.load(config)
    policy = build_policy(config, data, device)
    config = settled(config, policy, data, device)
    set_threads(config.num_threads)
    data = data.within(config)
    run = RunDirectory.create(config.runs_root)
    with run.lock(), StopSignal() as stop:
        run.config.write_text(dump_config(config), encoding="utf-8")
        run.write_environment(environment.describe(config.seed, str(device)))
        job = build_job(config, run, data, policy, RunState(), stop)
        with _outcome(job):
            open_logs(job)
            _begin(job)
            _to_the_end(job)
    return run


def resume(run: RunDirectory, from_step: str = "latest", additional_steps: int | None = None) -> RunDirectory:
    """Takes a run up at a checkpoint and trains on to its end, or for more steps; later checkpoints are given up.

    Bit for bit what an uninterrupted run would have done, when the config and the machine are the same. Raises
    `RunError` when the checkpoint is missing or damaged, or the run is in use.
    """
    config = load_config([run.config])
    device = _prepare(config)
    with run.lock(), StopSignal() as stop:
        checkpoint.clean(run.training_state)
        path = _checkpoint(run, from_step)
        data = Data.load(config)
        policy = build_policy(config, data, device) if path is None else load_policy(path / MODEL, device)
        job = build_job(config, run, data, policy, RunState(), stop)
        if path is not None:
            restore(job, path)
            if later := checkpoint.discard_after(run.training_state, path):
                _log.warning("going on from %s: %d later checkpoints are given up", path.name, len(later))
        _move_the_end(job, additional_steps)
        with _outcome(job):
            open_logs(job)
            if path is None:
                _begin(job)
            _to_the_end(job)
    return run


def _with_origin(config: Config) -> Config:
    """The config with the very checkpoint and policy that it starts from: `latest` would soon be another one."""
    if (path := origin(config)) is None:
        return config
    policy = settings_at(path / MODEL, config.policy)
    return config.model_copy(update={"init_from": str(path), "policy": policy})


def _prepare(config: Config) -> torch.device:
    keep_freed_memory()
    set_threads(config.num_threads)
    if config.stop.when is not None:
        Condition(config.stop.when)  # raises before anything is made
    check_trackers(config.trackers)
    keys.refuse_in(dump_config(config), "the config")
    return pick_device(config.device)


def _checkpoint(run: RunDirectory, spec: str) -> Path | None:
    """The checkpoint to go on from; None when the run was cut off before its first one."""
    if spec == "latest" and not checkpoint.steps(run.training_state):
        return None
    return run.checkpoint(spec)


def _move_the_end(job: Job, additional_steps: int | None) -> None:
    """More steps count from where the run is taken up; its schedules stay as they were."""
    state = job.state
    if additional_steps is not None:
        state.max_steps = state.step + additional_steps
        state.stop_reason = None
        state.no_signal_in_row = state.skipped_in_row = 0
    if state.max_steps is not None:
        job.horizon = Horizon(state.max_steps, job.horizon.schedule_steps)


def _begin(job: Job) -> None:
    """The warm start, and the checkpoint of step 0: the policy that the reference remembers."""
    if job.config.warm_start is not None:
        with job.timer("warm_start"):
            _warm_start(job, job.config.warm_start)
    save(job)


def _warm_start(job: Job, config: WarmStartConfig) -> None:
    """Goes on where an interruption left the stage."""
    encode = PromptEncoder(job.policy.tokenizer, job.config.prompt)
    stage = WarmStart(job.policy, demonstrations(job.policy, encode, job.data.train), config, job.config.seed)
    root = job.run.path / "warm_start"
    if (path := checkpoint.newest_good(root)) is not None:
        stage.restore(path)
    try:
        stage.run(job.stop, _report(job.config))
    except Interrupted:
        if stage.step:
            checkpoint.save(root, stage.step, stage.write)
        raise


def _report(config: Config) -> Any:
    assert config.warm_start is not None
    total = config.warm_start.steps

    def report(step: int, metrics: Metrics) -> None:
        if "console" in config.trackers and (step % max(1, total // 5) == 0 or step == total):
            print(
                f"warm start {step}/{total}  nll {metrics.values().get('loss/nll', math.nan):.3f}", flush=True
            )

    return report


def _to_the_end(job: Job) -> None:
    config, run = job.config, job.run
    job.reference = _reference(job)
    if config.eval.at_start and not job.state.is_measured:
        _evaluate(job, "before", 0)
        job.state.is_measured = True
    why = (imitate if config.stage == "sft" else learn)(job)
    checkpoint.mark_final(run.training_state, save(job))
    run.discard_evaluations_after(job.state.step)
    if config.eval.at_end:
        _evaluate(job, "after", job.state.step)
        if job.state.best_step == job.state.step:
            save(job)  # or a resumed run would not know its best
    run.update_summary(wall_s=round(job.seconds, 3), seed=config.seed, state="finished", why=why)


def _reference(job: Job) -> Reference | None:
    """The frozen policy of step 0, when the algorithm keeps one; saved in the run once."""
    if job.config.stage == "sft" or not job.config.algorithm.needs_reference:
        return None
    root = job.run.path / "reference"
    path = checkpoint.newest_good(root)
    if path is None:
        if job.state.step or job.state.batch is not None:
            raise RunError(
                f"{root} holds no good copy of the policy of step 0, and it cannot be made again at this step"
            )
        tensors = trained_tensors(job.policy)
        path = checkpoint.save(root, 0, lambda directory: write_tensors(directory / _TENSORS, tensors))
    return Reference(job.policy, read_tensors(path / _TENSORS))


def _evaluate(job: Job, when: str, step: int) -> None:
    """Measures outside a step, logs it and writes it into the summary."""
    scalars, found = measure(job, step)
    config = job.config
    if not step or not config.eval_every or step % config.eval_every or step % config.logging_every:
        log(job, step, scalars)  # else the step itself has logged the same
    plan = job.data.plan
    evals = {**job.run.summary().get("eval", {}), when: {"overlap": plan.overlap, **_in_short(found)}}
    job.run.update_summary(
        eval=evals, eval_task=plan.name, eval_split=plan.config.split, best_step=job.state.best_step
    )


def _in_short(found: Intervals) -> dict[str, Any]:
    short: dict[str, Any] = {}
    for name, ends in (("pass@1", "ci95"), ("greedy", "greedy_ci95"), ("nll", "nll_ci95")):
        if (interval := found.get(name)) is not None:
            low, high = (end if math.isfinite(end) else None for end in (interval.low, interval.high))
            short |= {name: interval.mean, ends: [low, high], "n": interval.clusters}
    return short


@contextmanager
def _outcome(job: Job) -> Iterator[None]:
    """Whatever ends the run is written into it, and what has been learned is saved first, unless it ends at once."""
    run = job.run
    config = job.config
    run.update_summary(
        state="running", why="", seed=config.seed, max_steps=job.horizon.max_steps, stage=config.stage
    )
    try:
        yield
        if reader.metrics(run) or reader.evaluations(run):
            plot_run(run)
    except Interrupted:
        _leave(job, "stopped", signal.Signals(job.stop.number).name if job.stop.number else "stop")
    except (KeyboardInterrupt, SystemExit) as error:
        # At once, perhaps halfway through an update: what is in memory may be of no step. The last checkpoint is.
        run.set_state("stopped", type(error).__name__)
        raise
    except BaseException as error:
        _leave(job, "failed", f"{type(error).__name__}: {error}")
        raise
    finally:
        for tracker in job.trackers:
            tracker.close()
        if job.rollouts_log is not None:
            job.rollouts_log.close()


def _leave(job: Job, state: State, why: str) -> None:
    """Saves what has been learned since the last checkpoint, and records why the run ends.

    Before the first checkpoint there is nothing worth saving. When the save fails, on a full disk for instance, the
    run has failed, whatever else was on its way; its last checkpoint is untouched.
    """
    try:
        if checkpoint.steps(job.run.training_state):
            save(job)
        job.run.set_state(state, why)
    except WhetError as error:
        job.run.set_state("failed", why if state == "failed" else f"{type(error).__name__}: {error}")
        raise
