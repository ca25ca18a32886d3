"""Repeating a short text: `bcab=` with the answer `bcab`. The first thing that a trainer must be able to teach."""

from __future__ import annotations

from pydantic import Field, model_validator

from whet.interfaces import Verifier
from whet.tasks._generated import Draw, GeneratedTask, Problem
from whet.verifiers.exact import Exact


class Echo(GeneratedTask):
    """The letters before the `=` again. Tag: `length`."""

    alphabet: str = Field(default="abcdefghij", min_length=2)
    min_length: int = Field(default=2, ge=1)
    max_length: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _lengths(self) -> Echo:
        if self.min_length > self.max_length:
            raise ValueError("expected min_length <= max_length")
        if any(letter.isspace() or letter == "=" for letter in self.alphabet):
            raise ValueError("expected an alphabet without white space and '='")
        return self

    def problem(self, draw: Draw) -> Problem:
        """Letters drawn uniformly, all lengths equally often."""
        text = draw.text(self.alphabet, draw.integer(self.min_length, self.max_length))
        return Problem(prompt=f"{text}=", answer=text, demonstration=text, tags={"length": str(len(text))})

    def default_verifier(self) -> Verifier:
        """`exact`."""
        return _VERIFIER


_VERIFIER = Exact(name="exact")
