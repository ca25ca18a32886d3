"""Continuing a repeated pattern: `abcabca>` with the answer `bca`."""

from __future__ import annotations

from pydantic import Field, model_validator

from whet.interfaces import Verifier
from whet.tasks._generated import Draw, GeneratedTask, Problem
from whet.verifiers.exact import Exact


class Pattern(GeneratedTask):
    """The letters that come next. At least two whole periods are shown. Tag: `period`."""

    alphabet: str = Field(default="abcdefgh", min_length=2)
    min_period: int = Field(default=2, ge=1)
    max_period: int = Field(default=4, ge=1)
    answer_length: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _periods(self) -> Pattern:
        if self.min_period > self.max_period:
            raise ValueError("expected min_period <= max_period")
        if any(letter.isspace() or letter == ">" for letter in self.alphabet):
            raise ValueError("expected an alphabet without white space and '>'")
        return self

    def problem(self, draw: Draw) -> Problem:
        """A unit drawn uniformly, shown twice and up to a place inside the third time."""
        unit = draw.text(self.alphabet, draw.integer(self.min_period, self.max_period))
        shown = 2 * len(unit) + draw.integer(0, len(unit) - 1)
        sequence = unit * (4 + self.answer_length)
        answer = sequence[shown : shown + self.answer_length]
        return Problem(
            prompt=f"{sequence[:shown]}>",
            answer=answer,
            demonstration=answer,
            tags={"period": str(len(unit))},
        )

    def default_verifier(self) -> Verifier:
        """`exact`."""
        return _VERIFIER


_VERIFIER = Exact(name="exact")
