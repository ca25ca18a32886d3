"""Sums, differences, products and exact divisions, such as `37+85=` with the answer `122`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from whet.interfaces import Verifier
from whet.tasks._generated import Draw, GeneratedTask, Problem
from whet.verifiers.numeric import Numeric

Operation = Literal["+", "-", "*", "/"]

_NAMES: dict[str, str] = {"+": "add", "-": "sub", "*": "mul", "/": "div"}


class Arithmetic(GeneratedTask):
    """One operation on two whole numbers. Tags: `operation` (add, sub, mul, div) and `difficulty` (2-digit).

    A division is exact: its dividend is the product of two operands. a+b and b+a are on the same side of the
    split.
    """

    operations: tuple[Operation, ...] = Field(default=("+",), min_length=1)
    min_operand: int = Field(default=0, ge=0)
    max_operand: int = Field(default=99, ge=0, le=10**15)
    signs: bool = False
    """Operands and differences may be negative; without it the larger operand of a difference comes first."""
    show_work: bool = False
    """Demonstrations first write what each column adds up to, carry included, units first: `12 12 122` for 37+85.
    Sums without signs only. The answer is still the last number."""
    prompt_format: str = "{a}{op}{b}="

    @field_validator("prompt_format")
    @classmethod
    def _has_the_fields(cls, value: str) -> str:
        if any(field not in value for field in ("{a}", "{op}", "{b}")):
            raise ValueError("expected a text with {a}, {op} and {b}, such as '{a}{op}{b}='")
        return value

    @model_validator(mode="after")
    def _range(self) -> Arithmetic:
        if self.min_operand > self.max_operand or ("/" in self.operations and self.max_operand == 0):
            raise ValueError("expected min_operand <= max_operand, and a max_operand above 0 for division")
        if self.show_work and (self.operations != ("+",) or self.signs):
            raise ValueError("show_work is for sums without signs: set operations: ['+'] and signs: false")
        return self

    def problem(self, draw: Draw) -> Problem:
        """One operation on two operands, each drawn uniformly."""
        op = draw.choice(self.operations)
        a, b = self._operand(draw), self._operand(draw, at_least=int(op == "/"))
        if op == "-" and not self.signs:
            a, b = max(a, b), min(a, b)
        if op == "/":
            a = a * b
        result = {"+": a + b, "-": a - b, "*": a * b, "/": a // b if op == "/" else 0}[op]
        first, second = sorted((a, b)) if op in "+*" else (a, b)
        return Problem(
            prompt=self.prompt_format.replace("{a}", str(a)).replace("{op}", op).replace("{b}", str(b)),
            answer=str(result),
            demonstration=f"{_columns(a, b)} {result}" if self.show_work else str(result),
            tags={"operation": _NAMES[op], "difficulty": f"{len(str(max(abs(a), abs(b))))}-digit"},
            identity=f"{first}{op}{second}",
        )

    def default_verifier(self) -> Verifier:
        """`numeric`: the marked or last number, compared exactly."""
        return _VERIFIER

    def _operand(self, draw: Draw, at_least: int = 0) -> int:
        value = draw.integer(max(self.min_operand, at_least), self.max_operand)
        return -value if self.signs and draw.integer(0, 1) else value


def _columns(a: int, b: int) -> str:
    """What the columns of a + b add up to, units first, each with the carry of the one before."""
    sums: list[int] = []
    while a or b or not sums:
        carry = sums[-1] // 10 if sums else 0
        sums.append(a % 10 + b % 10 + carry)
        a, b = a // 10, b // 10
    return " ".join(map(str, sums))


_VERIFIER = Numeric(name="numeric")
