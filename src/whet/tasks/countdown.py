"""The numbers game: `3 7 25 make 154=` with the answer `(25-3)*7`, or any other expression with that value."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from whet.interfaces import Verifier
from whet.tasks._generated import Draw, GeneratedTask, Problem
from whet.verifiers.countdown import Countdown as Solves

_TRIES = 100


class Countdown(GeneratedTask):
    """Each number at most once, + - * / and parentheses. Tag: `numbers` (how many).

    Every problem has a solution that uses all numbers; no intermediate result of it is negative or a fraction.
    The same numbers and target, in another order, are on the same side of the split.
    """

    min_numbers: int = Field(default=3, ge=2)
    max_numbers: int = Field(default=4, ge=2, le=10)
    max_number: int = Field(default=99, ge=2, le=10**6)
    max_target: int = Field(default=999, ge=4, le=10**9)
    prompt_format: str = "{numbers} make {target}="
    """For a pretrained model, say: `Use each of {numbers} at most once, with + - * / and parentheses, to make {target}.
    Write the expression in <answer> </answer>.`"""

    @field_validator("prompt_format")
    @classmethod
    def _has_the_fields(cls, value: str) -> str:
        if any(field not in value for field in ("{numbers}", "{target}")):
            raise ValueError(
                "expected a text with {numbers} and {target}, such as '{numbers} make {target}='"
            )
        return value

    @model_validator(mode="after")
    def _sizes(self) -> Countdown:
        if self.min_numbers > self.max_numbers:
            raise ValueError("expected min_numbers <= max_numbers")
        if self.max_target < self.max_numbers * self.max_number:
            raise ValueError(
                "expected max_target >= max_numbers * max_number, so that sums are always possible"
            )
        return self

    def problem(self, draw: Draw) -> Problem:
        """Numbers drawn uniformly, joined two at a time by operations drawn uniformly from those that fit."""
        count = draw.integer(self.min_numbers, self.max_numbers)
        numbers = [draw.integer(1, self.max_number) for _ in range(count)]
        solution, target = self._solution(draw, numbers)
        listed = " ".join(map(str, numbers))
        return Problem(
            prompt=self.prompt_format.replace("{numbers}", listed).replace("{target}", str(target)),
            answer=solution,
            demonstration=solution,
            tags={"numbers": str(count)},
            identity=f"{sorted(numbers)} {target}",
        )

    def default_verifier(self) -> Verifier:
        """`countdown`: any expression that keeps to the rules and has the value."""
        return _VERIFIER

    def _solution(self, draw: Draw, numbers: list[int]) -> tuple[str, int]:
        """An expression of all numbers and its value, which is none of them; after many tries a sum."""
        for _ in range(_TRIES):
            parts = [(str(n), n) for n in numbers]
            while len(parts) > 1:
                a = parts.pop(draw.integer(0, len(parts) - 1))
                b = parts.pop(draw.integer(0, len(parts) - 1))
                parts.append(_joined(draw, *sorted((a, b), key=lambda part: -part[1])))
            text, value = parts[0]
            if value <= self.max_target and value not in numbers:
                return text.removeprefix("(").removesuffix(")"), value
        return "+".join(map(str, numbers)), sum(numbers)


def _joined(draw: Draw, large: tuple[str, int], small: tuple[str, int]) -> tuple[str, int]:
    """Two parts and an operation that gives a whole number above zero, in parentheses."""
    (left, a), (right, b) = large, small
    values = {"+": a + b, "*": a * b}
    if a > b:
        values["-"] = a - b
    if b > 1 and a % b == 0:
        values["/"] = a // b
    op = draw.choice(tuple(values))
    return f"({left}{op}{right})", values[op]


_VERIFIER = Solves(name="countdown")
