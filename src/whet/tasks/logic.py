"""Boolean expressions: `(true and not false) or false=` with the answer `true`. About half of all guesses are right."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from whet.interfaces import Verifier
from whet.tasks._generated import Draw, GeneratedTask, Problem
from whet.verifiers.exact import Exact

Operator = Literal["and", "or", "xor"]


class Logic(GeneratedTask):
    """`true` or `false`; every operation but the outermost stands in brackets.

    Tags: `operators` (how many) and `answer`.
    """

    operators: tuple[Operator, ...] = Field(default=("and", "or"), min_length=1)
    min_operators: int = Field(default=2, ge=1)
    max_operators: int = Field(default=4, ge=1, le=50)
    negation: bool = True
    """Every other value has a `not` in front."""

    @model_validator(mode="after")
    def _sizes(self) -> Logic:
        if self.min_operators > self.max_operators:
            raise ValueError("expected min_operators <= max_operators")
        return self

    def problem(self, draw: Draw) -> Problem:
        """A random tree with a number of operators drawn uniformly."""
        size = draw.integer(self.min_operators, self.max_operators)
        text, value = self._expression(draw, size)
        answer = "true" if value else "false"
        return Problem(
            prompt=f"{text.removeprefix('(').removesuffix(')')}=",
            answer=answer,
            demonstration=answer,
            tags={"operators": str(size), "answer": answer},
        )

    def default_verifier(self) -> Verifier:
        """`exact`, upper and lower case alike."""
        return _VERIFIER

    def _expression(self, draw: Draw, size: int) -> tuple[str, bool]:
        """An expression with `size` operators, in brackets if it has any, and its value."""
        if size == 0:
            value, negated = bool(draw.integer(0, 1)), self.negation and bool(draw.integer(0, 1))
            return f"{'not ' * negated}{str(value).lower()}", value != negated
        operator = draw.choice(self.operators)
        left_size = draw.integer(0, size - 1)
        left, a = self._expression(draw, left_size)
        right, b = self._expression(draw, size - 1 - left_size)
        return f"({left} {operator} {right})", {"and": a and b, "or": a or b, "xor": a != b}[operator]


_VERIFIER = Exact(name="exact", ignore_case=True)
