"""Writing a number in another base: `37 base 10 to 2=` with the answer `100101`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from whet.interfaces import Verifier
from whet.tasks._generated import Draw, GeneratedTask, Problem
from whet.verifiers.exact import Exact

Base = Annotated[int, Field(ge=2, le=16)]

_DIGITS = "0123456789abcdef"


class BaseConversion(GeneratedTask):
    """Whole numbers, without leading zeros. Tag: `conversion` (10 to 2). Each number is on one side of the split."""

    conversions: tuple[tuple[Base, Base], ...] = Field(default=((10, 2),), min_length=1)
    """Pairs (from base, to base)."""
    min_value: int = Field(default=0, ge=0)
    max_value: int = Field(default=4095, ge=1, le=10**15)

    @model_validator(mode="after")
    def _range(self) -> BaseConversion:
        if self.min_value > self.max_value:
            raise ValueError("expected min_value <= max_value")
        if any(source == target for source, target in self.conversions):
            raise ValueError("expected conversions between two different bases")
        return self

    def problem(self, draw: Draw) -> Problem:
        """A number drawn uniformly."""
        source, target = draw.choice(self.conversions)
        value = draw.integer(self.min_value, self.max_value)
        answer = _written(value, target)
        return Problem(
            prompt=f"{_written(value, source)} base {source} to {target}=",
            answer=answer,
            demonstration=answer,
            tags={"conversion": f"{source} to {target}"},
            identity=str(value),
        )

    def default_verifier(self) -> Verifier:
        """`exact`, upper and lower case alike: a leading zero is wrong."""
        return _VERIFIER


_VERIFIER = Exact(name="exact", ignore_case=True)


def _written(value: int, base: int) -> str:
    """The digits of a number in a base."""
    digits = ""
    while value >= base:
        value, digit = divmod(value, base)
        digits = _DIGITS[digit] + digits
    return _DIGITS[value] + digits
