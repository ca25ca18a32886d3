"""A step's groups, with an eye on rewards that failed on our side."""

from __future__ import annotations

from whet.errors import VerifierError
from whet.rollouts.metrics import failed_rollouts, records
from whet.training.job import Job
from whet.types import StepGroups


def take_groups(job: Job) -> StepGroups:
    """The scored groups of the next step, logged. Whatever goes wrong leaves the source as it was.

    Raises `VerifierError` when more than `stop.max_failed_frac` of the rewards failed.
    """
    before, step = job.source.state_dict(), job.state.step + 1
    try:
        groups = job.source.take(step)
        _check_failures(groups, job.config.stop.max_failed_frac)
    except BaseException:
        job.source.load_state_dict(before)
        raise
    job.source.observe(groups)
    if job.rollouts_log is not None:
        for record in records(step, groups):
            job.rollouts_log.append(record)
    return groups


def _check_failures(groups: StepGroups, limit: float) -> None:
    failed = failed_rollouts(groups)
    total = sum(len(g.rollouts) for g in (*groups.admitted, *groups.refused))
    if len(failed) > limit * total:
        first = failed[0]
        raise VerifierError(
            f"{len(failed)} of {total} rewards failed on our side, more than stop.max_failed_frac {limit:g} allows. "
            f"The first: {first.score.status}: {first.score.detail} (example {first.example.id}, text "
            f"{first.text[:80]!r}). Mend the verifier and resume the run; nothing is lost"
        )
