"""Graded credit for coming near a number."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from whet.errors import nothing_to_compare
from whet.interfaces import Verifier
from whet.types import Example, Score
from whet.verifiers.numeric import gold_number, read_number


class NumericDistance(Verifier):
    """The credit of the first row whose distance |number - answer| is not exceeded.

    The default table is the one that worked best on small sums in pippa. A dense reward teaches to come near, which is
    not the same as to be right: report the accuracy of `numeric` beside it.
    """

    needs_answer: ClassVar[bool] = True

    extract: Literal["auto", "tagged", "last"] = "auto"
    """Where the number is looked for, as in `numeric`."""
    credits: tuple[tuple[float, float], ...] = Field(
        default=((0, 1.0), (1, 0.7), (2, 0.4), (5, 0.1), (10, -0.2)), min_length=1
    )
    """Rows (largest distance, credit) with rising distances."""
    beyond: float = -0.5
    """Credit of any larger distance."""
    no_number: float = -1.0
    """Credit of a completion without a number."""

    @field_validator("credits")
    @classmethod
    def _rising(cls, rows: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(not low < high for (low, _), (high, _) in pairwise(rows)):
            raise ValueError(f"expected rows (distance, credit) with rising distances, found {rows}")
        return rows

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The credit; details `no_answer` and, at any distance above 0, `wrong`."""
        answer = str(answer)  # a number is as good as its digits
        if not answer:
            raise nothing_to_compare("numeric_distance", example)
        found, gold = read_number(text, self.extract), gold_number(answer)
        if found is None:
            return Score(value=self.no_number, detail="no_answer")
        distance = abs(found - gold)
        credit = next((credit for limit, credit in self.credits if distance <= limit), self.beyond)
        return Score(value=credit, detail="wrong" if distance else "")
