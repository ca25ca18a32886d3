"""Comparing two numbers: `37>52?` with the answer `no`. Half of all guesses are right."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from whet.interfaces import Verifier
from whet.tasks._generated import Draw, GeneratedTask, Problem
from whet.verifiers.exact import Exact


class Comparison(GeneratedTask):
    """`yes` or `no`. Tags: `operator` and `answer`. All questions about two numbers are on one side of the split."""

    operators: tuple[Literal["<", ">", "="], ...] = Field(default=("<", ">"), min_length=1)
    min_operand: int = 0
    max_operand: int = Field(default=99, le=10**15)

    @model_validator(mode="after")
    def _range(self) -> Comparison:
        if self.min_operand >= self.max_operand:
            raise ValueError("expected min_operand < max_operand")
        return self

    def problem(self, draw: Draw) -> Problem:
        """Two numbers drawn uniformly; for `=` the same number every other time."""
        operator = draw.choice(self.operators)
        a, b = (draw.integer(self.min_operand, self.max_operand) for _ in range(2))
        if operator == "=" and draw.integer(0, 1):
            b = a
        answer = "yes" if {"<": a < b, ">": a > b, "=": a == b}[operator] else "no"
        return Problem(
            prompt=f"{a}{operator}{b}?",
            answer=answer,
            demonstration=answer,
            tags={"operator": operator, "answer": answer},
            identity=f"{min(a, b)},{max(a, b)}",
        )

    def default_verifier(self) -> Verifier:
        """`exact`, upper and lower case alike."""
        return _VERIFIER


_VERIFIER = Exact(name="exact", ignore_case=True)
