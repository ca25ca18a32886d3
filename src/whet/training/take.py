"""A step's groups, with an eye on rewards that failed on our side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from whet.errors import TrainingError
from whet.rollouts.metrics import records
from whet.training.failures import check_failures
from whet.training.job import Job
from whet.types import Rollout, StepGroups


@contextmanager
def all_or_nothing(job: Job) -> Iterator[None]:
    """A step begins as a whole: when that fails, source, memory and log are as before, and can be saved so."""
    source, memory = job.source.state_dict(), dict(job.state.memory)
    log = job.rollouts_log
    size_bytes = log.size_bytes if log is not None else 0
    try:
        yield
    except BaseException:
        job.source.load_state_dict(source)
        job.state.memory = memory
        if log is not None:
            log.truncate(size_bytes)
        raise


def take_groups(job: Job) -> StepGroups:
    """The scored groups of the next step, logged.

    Raises `TrainingError` for a policy that has fallen apart, what `collect` raises, and `VerifierError` when more than
    `stop.max_failed_frac` of the rewards failed.
    """
    step = job.state.step + 1
    groups = job.source.take(step)
    rollouts = [r for g in (*groups.admitted, *groups.refused) for r in g.rollouts]
    _check_finite(rollouts)
    check_failures([(r.example.id, r.text, r.score) for r in rollouts], job.config.stop.max_failed_frac)
    job.source.observe(groups)
    if job.rollouts_log is not None:
        job.rollouts_log.append(*records(step, groups))
    return groups


def _check_finite(rollouts: Sequence[Rollout]) -> None:
    """What such a policy writes may all get one reward, and then no loss would show it."""
    for rollout in rollouts:
        if not math.isfinite(sum(rollout.sampling_logprobs)):
            raise TrainingError(
                f"the policy's log-probabilities are not finite (example {rollout.example.id}): its weights have run "
                "away. Lower optimizer.learning_rate and resume from an earlier checkpoint"
            )
