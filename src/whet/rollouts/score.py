"""Scores a completion without ever turning our own failure into a zero."""

from whet.interfaces import Task
from whet.types import Example, Score


def score_text(task: Task, example: Example, text: str) -> Score:
    """The task's score; an exception is status `error`, anything that is no score is `invalid`."""
    try:
        score = task.score(example, text)
    except Exception as error:  # noqa: BLE001 - whatever a verifier raises is data, counted and never a zero
        return Score.failed("error", f"{type(error).__name__}: {error}")
    return score if isinstance(score, Score) else Score.failed("invalid", f"expected a Score, found {score!r}")
