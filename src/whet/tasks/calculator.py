"""Arithmetic with a tool: numbers too large for the head, and a calculator to ask in a turn of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, field_validator, model_validator

from whet.interfaces import Episode, Verifier
from whet.tasks._generated import Draw, GeneratedTask, Problem
from whet.tasks._tools import calculate, calculate_apart
from whet.text.tags import tagged
from whet.turns import TurnTask
from whet.types import Example, Turn
from whet.verifiers._isolation import judged
from whet.verifiers.numeric import Numeric

TAG = "calculator"


class Calculator(TurnTask, GeneratedTask):
    """`(4821-937)*2884` with the answer `11201456`. Tag: `operations` (how many).

    An answer that holds `<calculator>expression</calculator>` is a tool call: the observation is the value, of several
    calls one line each; a call that cannot be read is answered by a line that begins with `error:`. An answer without a
    call is the last one, and the verifier scores it.
    """

    max_turns: int = Field(default=4, ge=1)
    """Answers at most, calls included."""
    min_operations: int = Field(default=1, ge=1)
    max_operations: int = Field(default=3, ge=1, le=12)
    digits: int = Field(default=4, ge=1, le=12)
    """Of the largest number."""
    prompt_format: str = (
        "What is {expression}? Write <calculator>expression</calculator> to ask a calculator; "
        "when you know it, write the number and nothing else."
    )
    """Text around the expression."""

    @field_validator("prompt_format")
    @classmethod
    def _has_the_field(cls, value: str) -> str:
        if "{expression}" not in value:
            raise ValueError("expected a text with {expression}, such as '{expression}='")
        return value

    @model_validator(mode="after")
    def _sizes(self) -> Calculator:
        if self.min_operations > self.max_operations:
            raise ValueError("expected min_operations <= max_operations")
        return self

    def problem(self, draw: Draw) -> Problem:
        """Numbers and operations + - * drawn uniformly; every second part is put in parentheses."""
        count = draw.integer(self.min_operations, self.max_operations)
        text = self._number(draw)
        for n in range(count):
            inner = f"({text})" if n % 2 and not text.isdigit() else text
            text = f"{inner}{draw.choice('+-*')}{self._number(draw)}"
        return Problem(
            prompt=self.prompt_format.replace("{expression}", text),
            answer=calculate(text),
            demonstration=None,
            tags={"operations": str(count)},
        )

    def start(self, example: Example, seed: int) -> Episode:
        """An episode in which nothing is drawn."""
        return _Exchange(task=self, example=example)

    def observed_texts(self) -> Sequence[str]:
        """What calls are made of, and the words of errors."""
        return (
            f"0123456789-/+*()'\"\\\n<{TAG}></{TAG}>",
            *map(calculate, ("1//2", "1/0", "(1", "1)", "", "1" * 20)),
            "error: timeout memory died raised",
        )

    def default_verifier(self) -> Verifier:
        """`numeric`."""
        return _VERIFIER

    def _number(self, draw: Draw) -> str:
        return str(draw.integer(1, 10**self.digits - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    task: Calculator
    example: Example

    def step(self, text: str) -> Turn:
        if f"<{TAG}>" in text:
            # The end of the text closes a call too: `sampling.stop` may have cut the tag away.
            return Turn(observation="\n".join(calculate_apart(tagged(f"{text}</{TAG}>", TAG))))
        verifier = self.task.verifier or self.task.default_verifier()
        return Turn(done=True, score=judged(verifier, text, self.example.answer, self.example))


_VERIFIER = Numeric(name="numeric")
