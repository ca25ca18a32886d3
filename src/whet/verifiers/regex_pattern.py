"""Whether a completion matches a regular expression."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

from whet.errors import DataError, nothing_to_compare
from whet.interfaces import Verifier
from whet.types import Example, Score


class RegexPattern(Verifier):
    """Full value when the completion matches a pattern of Python's `re`: the setting's, else the example's answer.

    The pattern is the task's, never the model's. One that goes back over the same text again and again, as `(a+)+b`
    does, can take for ever on a text made for it.
    """

    pattern: str | None = None
    """For instance `(?i)^yes\\b`. Null: the answer of each example is its pattern."""
    full: bool = False
    """The pattern has to match the whole completion without white space at its ends, not just some part of it."""
    isolation: Literal["none", "worker"] = "worker"
    """Since a pattern may take for ever, a process of its own that is killed at `timeout_s`."""
    right: float = 1.0
    wrong: float = 0.0

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None and (fault := _fault(value)):
            raise ValueError(f"expected a regular expression of Python, found {value!r} ({fault})")
        return value

    def check(self, example: Example) -> None:
        """Raises `DataError` for a row without a pattern, where rows hold them."""
        if self.pattern is None:
            _of_row(example.answer, example)

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The value `right` or `wrong`, with the detail `no_match`; raises `DataError` for a row without a pattern."""
        pattern = self.pattern if self.pattern is not None else _of_row(answer, example)
        found = re.fullmatch(pattern, text.strip()) if self.full else re.search(pattern, text)
        return Score(value=self.right) if found else Score(value=self.wrong, detail="no_match")


def _of_row(answer: str, example: Example | None) -> str:
    """The answer as a pattern."""
    if not answer:
        raise nothing_to_compare("regex_pattern", example)
    if fault := _fault(answer):
        where = f" in the answer of {example.id}" if example else " as the answer"
        raise DataError(
            f"regex_pattern: expected a regular expression of Python{where}, found {answer[:200]!r} ({fault})"
        )
    return answer


def _fault(pattern: str) -> str:
    """Why a pattern does not compile; empty when it does."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    return ""
