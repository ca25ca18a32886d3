"""Supervised fine-tuning: the loop that imitates demonstrations, completion tokens only, through the update of RL."""

from __future__ import annotations

from collections.abc import Sequence

from whet.config import SamplingConfig
from whet.rollouts.batch import make_batch
from whet.tracking.metrics import Metrics
from whet.training.dropout import supervised_dropout
from whet.training.finish import end_of_run, finish_step
from whet.training.job import Job
from whet.training.objectives import Imitation
from whet.types import RolloutGroup


def imitate(job: Job) -> str:
    """Moves the policy towards the demonstrations, step by step, and returns why it ended.

    Raises `Interrupted` when told to stop. A step has one update; one that was cut off after it is only finished.
    """
    state = job.state
    while (why := end_of_run(job)) is None:
        if state.batch is None:
            groups = job.source.take(state.step + 1).admitted
            state.begin(make_batch(groups, SamplingConfig(), job.device), _lengths(groups))
        assert state.batch is not None
        if state.update == 0:
            with job.timer("update"), supervised_dropout(job.policy, job.config.seed, state.step):
                state.updated(job.learner.update(Imitation(), state.batch, job.rate))
        job.raise_if_stopped()
        finish_step(job)
    return why


def _lengths(groups: Sequence[RolloutGroup]) -> Metrics:
    metrics = Metrics()
    for length in (r.completion_length for g in groups for r in g.rollouts):
        metrics.add("completions/mean_length", length)
        metrics.maximum("completions/max_length", length)
        metrics.count("completions/tokens", length)
    return metrics
