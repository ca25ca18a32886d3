"""Counting letters or words: `b in abbcab=` with the answer `3`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from whet.interfaces import Verifier
from whet.tasks._generated import Draw, GeneratedTask, Problem
from whet.verifiers.numeric import Numeric

_WORDS = ("red", "blue", "green", "dog", "cat", "sun", "moon", "tree", "fish", "bird")


class Counting(GeneratedTask):
    """How often a letter stands in a text, or how many words a text has. Tags: `unit` and `length` (in units)."""

    units: tuple[Literal["letters", "words"], ...] = Field(default=("letters",), min_length=1)
    alphabet: str = Field(default="abcd", min_length=1, pattern=r"^[^\W\d_]+$")
    """Letters of the texts."""
    min_length: int = Field(default=3, ge=1)
    max_length: int = Field(default=9, ge=1)
    """Letters or words of a text."""

    @model_validator(mode="after")
    def _lengths(self) -> Counting:
        if self.min_length > self.max_length:
            raise ValueError("expected min_length <= max_length")
        return self

    def problem(self, draw: Draw) -> Problem:
        """A text drawn uniformly, all lengths equally often."""
        unit = draw.choice(self.units)
        length = draw.integer(self.min_length, self.max_length)
        if unit == "letters":
            what, text = draw.choice(self.alphabet), draw.text(self.alphabet, length)
            count = text.count(what)
        else:
            what, text, count = "words", " ".join(draw.choice(_WORDS) for _ in range(length)), length
        return Problem(
            prompt=f"{what} in {text}=",
            answer=str(count),
            demonstration=str(count),
            tags={"unit": unit, "length": str(length)},
        )

    def default_verifier(self) -> Verifier:
        """`numeric`."""
        return _VERIFIER


_VERIFIER = Numeric(name="numeric")
