"""Rewards that failed on our side: looked for before a run, and held against a limit while it goes."""

from __future__ import annotations

from collections.abc import Sequence

from whet.errors import DataError, VerifierError
from whet.interfaces import Task
from whet.rollouts.score import score_text
from whet.types import Example, Score

_REFERENCES = 32
"""How many references are tried before a run, from the first example to the last; `whet audit` tries more."""
_CHECKED = 10_000
"""How many examples are looked at before a run."""


def check_rewards(task: Task, examples: Sequence[Example], threshold: float) -> None:
    """The solution that the task itself offers must be scored, whatever the score is; else raises `VerifierError`.

    Examples that a verifier cannot score raise `DataError`, and so do references that are right by definition, such as
    those of programs, and that their own tests refuse.
    """
    for example in examples[:_CHECKED]:
        task.verifier_for(example).check(example)
    references = [e for e in examples if e.demonstration and task.verifier_for(e).references_win]
    stride = max(1, len(references) // _REFERENCES)
    tried = {example.id: example for example in (*examples[:1], *references[::stride])}
    for example in tried.values():
        solution = example.answer if example.demonstration is None else example.demonstration
        score = score_text(task, example, solution)
        if score.is_failure:
            raise VerifierError(
                f"the verifier failed on the task's own solution of {example.id}, {solution[-80:]!r}: {score.detail}. "
                "Mend it before training"
            )
        if example.demonstration and task.verifier_for(example).references_win and score.value < threshold:
            raise DataError(
                f"the reference of {example.id} fails its tests ({score.detail or score.value}): leave the row out, "
                "or raise the verifier's timeout_s or memory_mb"
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
