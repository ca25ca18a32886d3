"""Short stories with one or two calculations, solved in the form of GSM8K: `2*5=10\\n10+3=13\\n#### 13`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pydantic import Field

from whet.interfaces import Verifier
from whet.tasks._generated import Draw, GeneratedTask, Problem
from whet.verifiers.numeric import Numeric


class _Story(NamedTuple):
    """A text about {name}, {thing} and the numbers {a}, {b}, {c}; its calculations; how c is kept in bounds."""

    text: str
    steps: Callable[[int, int, int], list[tuple[int, str, int]]]


_NAMES = ("Ann", "Ben", "Eva", "Leo", "Mia", "Noah", "Sara", "Tom")
_THINGS = ("apples", "books", "cards", "coins", "eggs", "pens", "shells", "stamps")

_STORIES = (
    _Story("{name} has {a} {thing} and finds {b} more. How many {thing} now?", lambda a, b, c: [(a, "+", b)]),
    _Story(
        "{name} had {sum} {thing} and gave away {a}. How many {thing} are left?",
        lambda a, b, c: [(a + b, "-", a)],
    ),
    _Story(
        "{name} fills {a} boxes with {b} {thing} each. How many {thing} in all?",
        lambda a, b, c: [(a, "*", b)],
    ),
    _Story(
        "{name} shares {product} {thing} among {a} friends. How many {thing} does each friend get?",
        lambda a, b, c: [(a * b, "/", a)],
    ),
    _Story(
        "{name} buys {a} bags of {b} {thing} and finds {c} more. How many {thing} now?",
        lambda a, b, c: [(a, "*", b), (a * b, "+", c)],
    ),
    _Story(
        "{name} has {a} {thing}, gets {b} more and then loses {a}. How many {thing} are left?",
        lambda a, b, c: [(a, "+", b), (a + b, "-", a)],
    ),
    _Story(
        "{name} has {a} {thing} and a friend has {b}. Each wins {c} more. How many {thing} do both have?",
        lambda a, b, c: [(a, "+", b), (2, "*", c), (a + b, "+", 2 * c)],
    ),
    _Story(
        "{name} sells {a} {thing} at {b} dollars each and pays {b} dollars for a stand. How many dollars are left?",
        lambda a, b, c: [(a, "*", b), (a * b, "-", b)],
    ),
)


class WordProblems(GeneratedTask):
    """Eight kinds of stories. Tags: `operation` (of the last step) and `steps`."""

    max_number: int = Field(default=20, ge=2, le=10**6)
    """Numbers of a story are 1 to this; sums, products and shared amounts may be larger."""

    def problem(self, draw: Draw) -> Problem:
        """A story, a person, a thing and three numbers, each drawn uniformly."""
        story = draw.choice(_STORIES)
        a, b, c = (draw.integer(1, self.max_number) for _ in range(3))
        question = story.text.format(
            name=draw.choice(_NAMES), thing=draw.choice(_THINGS), a=a, b=b, c=c, sum=a + b, product=a * b
        )
        results = [(left, op, right, _result(left, op, right)) for left, op, right in story.steps(a, b, c)]
        _, last_op, _, answer = results[-1]
        lines = "\n".join(f"{left}{op}{right}={result}" for left, op, right, result in results)
        return Problem(
            prompt=f"Question: {question}\nAnswer:",
            answer=str(answer),
            demonstration=f" {lines}\n#### {answer}",
            tags={"operation": _OPERATIONS[last_op], "steps": str(len(results))},
        )

    def default_verifier(self) -> Verifier:
        """`numeric`."""
        return _VERIFIER


_VERIFIER = Numeric(name="numeric")
_OPERATIONS = {"+": "add", "-": "sub", "*": "mul", "/": "div"}


def _result(left: int, op: str, right: int) -> int:
    return {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[op]
