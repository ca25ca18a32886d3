"""Rewards that failed on our side: looked for before a run, and held against a limit while it goes."""

from __future__ import annotations

from collections.abc import Sequence

from whet.errors import VerifierError
from whet.interfaces import Task
from whet.rollouts.score import score_text
from whet.types import Example, Score


def check_rewards(task: Task, example: Example) -> None:
    """The solution that the task itself offers must be scored, whatever the score is; else raises `VerifierError`."""
    solution = example.answer if example.demonstration is None else example.demonstration
    score = score_text(task, example, solution)
    if score.is_failure:
        raise VerifierError(
            f"the verifier failed on the task's own solution of {example.id}, {solution[-80:]!r}: {score.detail}. "
            "Mend it before training"
        )


def check_failures(scored: Sequence[tuple[str, str, Score]], limit: float) -> None:
    """Raises `VerifierError` when more than a share `limit` of (example id, text, score) failed."""
    failed = [item for item in scored if item[2].is_failure]
    if len(failed) > limit * len(scored):
        example, text, score = failed[0]
        raise VerifierError(
            f"{len(failed)} of {len(scored)} rewards failed on our side, more than stop.max_failed_frac {limit:g} "
            f"allows. The first: {score.status}: {score.detail} (example {example}, text {text[:80]!r}). Mend the "
            "verifier and resume the run; nothing is lost"
        )
