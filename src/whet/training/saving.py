"""Checkpoints of a job, and a job from a checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from whet.config import dump_config
from whet.runs import checkpoint, environment
from whet.runs.files import sync
from whet.training import state as states
from whet.training.job import Job


def save(job: Job) -> Path:
    """Writes the state as it is: between two steps, or inside one after some of its updates."""
    state, run = job.state, job.run
    logs = {name: path for name, path in job.logs.items() if path.exists()}
    for path in logs.values():
        sync(path)  # before its length is promised
    sizes = {name: path.stat().st_size for name, path in logs.items()}
    limit = job.learner.microbatch_tokens
    now = dataclasses.replace(state, log_sizes=sizes, seconds=job.seconds, microbatch_tokens=limit)
    step, update = (state.step, 0) if state.batch is None else (state.step + 1, max(state.update, 1))
    about = {
        "config": hashlib.sha256(dump_config(job.config).encode()).hexdigest(),
        "versions": environment.versions(),
    }
    path = checkpoint.save(
        run.training_state, step, lambda d: states.write(d, now, job.learner, job.source), update, about
    )
    run.update_summary(steps=state.step, wall_s=round(job.seconds, 3), best_step=state.best_step)
    return path


def restore(job: Job, path: Path) -> None:
    """Takes the optimizer, the source and the counters of a checkpoint back; the policy was loaded from it."""
    job.learner.optimizer.load_state_tensors(states.read_optimizer(path))
    state, rest = states.read(path, job.config.sampling, job.device)
    for field in dataclasses.fields(state):
        setattr(job.state, field.name, getattr(state, field.name))
    if state.microbatch_tokens is not None:
        job.learner.microbatch_tokens = min(job.learner.microbatch_tokens, state.microbatch_tokens)
    job.source.load_state_dict(rest["source"])
    job.policy.version = rest["policy_version"]
