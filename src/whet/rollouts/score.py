"""Scores a completion so that whatever goes wrong on our side is a status, never a zero and never a crash."""

from __future__ import annotations

import traceback
from pathlib import Path

from whet.errors import ConfigError
from whet.interfaces import Task, Verifier
from whet.types import Example, Score

_MAX_DETAIL = 300


def score_text(scorer: Task | Verifier, example: Example, text: str) -> Score:
    """The score of one completion's text.

    An exception of the scorer gives status `error` with its type and message; a result that is no `Score` gives
    `invalid`. Interruptions pass through, and so does a `ConfigError`: no rollout can be scored before it is mended.
    """
    try:
        score: object = (
            scorer.score(example, text)
            if isinstance(scorer, Task)
            else scorer.score(text, example.answer, example)
        )
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - a reward may raise anything; the rollout then has no value
        return Score.failed("error", f"{type(error).__name__}: {error}"[:_MAX_DETAIL] + _place(error))
    if not isinstance(score, Score):
        return Score.failed("invalid", f"expected a Score, found {score!r}"[:_MAX_DETAIL])
    return score


def _place(error: Exception) -> str:
    """File and line that raised, where a person can mend it."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
