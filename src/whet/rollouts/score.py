"""Scores a completion so that whatever goes wrong on our side is a status, never a zero and never a crash."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Self, TypeVar

from whet.errors import ConfigError, Interrupted, Terminated
from whet.interfaces import Task, Verifier
from whet.sandbox import pool
from whet.types import Example, Score
from whet.verifiers._isolation import judged

_MAX_DETAIL = 300
_LOOK_S = 0.1
Found = TypeVar("Found")


def score_text(scorer: Task | Verifier, example: Example, text: str) -> Score:
    """The score of one completion's text.

    An exception of the scorer gives status `error` with its type and message; a result that is no `Score` gives
    `invalid`. Interruptions pass through, and so does a `ConfigError`: no rollout can be scored before it is mended.
    """
    return guarded(lambda: _score(scorer, example, text), Score)


def guarded(call: Callable[[], object], kind: type[Found]) -> Found | Score:
    """What a call of a person's code gives, or the failed score that takes its place."""
    try:
        found = call()
    except (ConfigError, Terminated):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a reward may raise anything; the rollout then has no value
        said = f"{type(error).__name__}: {_safely(str, error)}"
        return Score.failed("error", said[:_MAX_DETAIL] + _place(error))
    if not isinstance(found, kind):
        return Score.failed(
            "invalid", f"expected a {kind.__name__}, found {_safely(repr, found)}"[:_MAX_DETAIL]
        )
    return found


def _score(scorer: Task | Verifier, example: Example, text: str) -> Score:
    if isinstance(scorer, Task):
        if type(scorer).score is not Task.score:  # a task that does not leave it to a verifier
            return scorer.score(example, text)
        scorer = scorer.verifier_for(example)
    return judged(scorer, text, example.answer, example)


class Scoring:
    """Scores that may be made beside the sampling: `submit` what is to be scored, ask the `Future` for the score.

    Those that wait for another process are made by several threads, the others at once. Leaving the `with` drops what
    nobody has asked for.
    """

    def __init__(self, task: Task, should_stop: Callable[[], bool] = lambda: False) -> None:
        self._task = task
        self._should_stop = should_stop
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def submit(self, example: Example, text: str) -> Future[Score]:
        """The score of one completion, as `score_text` gives it."""
        if self._task.verifier_for(example).waits:
            self._threads = self._threads or ThreadPoolExecutor(pool.shared().size, "whet-score")
            return self._threads.submit(score_text, self._task, example, text)
        done: Future[Score] = Future()
        done.set_result(score_text(self._task, example, text))
        return done

    def result(self, asked: Future[Score]) -> Score:
        """The score that was asked for; raises `Interrupted` soon after `should_stop` turns true."""
        while not asked.done() and not self._should_stop():
            wait([asked], timeout=_LOOK_S)
        if not asked.done():
            raise Interrupted
        return asked.result()


def _safely(write: Callable[[object], str], value: object) -> str:
    """What `str` or `repr` makes of a value whose own methods may raise."""
    try:
        return write(value)
    except Exception:  # noqa: BLE001 - see above
        return f"a {type(value).__name__}"


def _place(error: BaseException) -> str:
    """File and line that raised, where a person can mend it."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
