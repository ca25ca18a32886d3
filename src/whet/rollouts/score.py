"""Scores a completion so that whatever goes wrong on our side is a status, never a zero and never a crash."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from whet.errors import ConfigError
from whet.interfaces import Task, Verifier
from whet.types import Example, Score

_MAX_DETAIL = 300
Found = TypeVar("Found")


def score_text(scorer: Task | Verifier, example: Example, text: str) -> Score:
    """The score of one completion's text.

    An exception of the scorer gives status `error` with its type and message; a result that is no `Score` gives
    `invalid`. Interruptions pass through, and so does a `ConfigError`: no rollout can be scored before it is mended.
    """
    if isinstance(scorer, Task):
        return guarded(lambda: scorer.score(example, text), Score)
    return guarded(lambda: scorer.score(text, example.answer, example), Score)


def guarded(call: Callable[[], object], kind: type[Found]) -> Found | Score:
    """What a call of a person's code gives, or the failed score that takes its place."""
    try:
        found = call()
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - a reward may raise anything; the rollout then has no value
        return Score.failed("error", f"{type(error).__name__}: {error}"[:_MAX_DETAIL] + _place(error))
    if not isinstance(found, kind):
        return Score.failed("invalid", f"expected a {kind.__name__}, found {found!r}"[:_MAX_DETAIL])
    return found


def _place(error: Exception) -> str:
    """File and line that raised, where a person can mend it."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
