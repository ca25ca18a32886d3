"""Whether a completion makes a number out of given ones, as the task `countdown` asks."""

from __future__ import annotations

import functools
from collections import Counter
from typing import ClassVar

from whet.errors import DataError, nothing_to_compare
from whet.interfaces import Verifier
from whet.text.expressions import MAX_DIGITS, Expression, NotAnExpression, read_expression
from whet.text.tags import marked_answer
from whet.types import Example, Score


class Countdown(Verifier):
    """Full value for an expression of `+ - * /` and parentheses that has the value asked for, computed exactly.

    The answer is one solution, such as `(25-3)*7`, or the numbers and the value, such as `3 7 25 = 154`. Its numbers
    may be used once each. The completion's expression is its marked answer (`<answer>`, else `####`, else `\\boxed{}`),
    else its last line; `= 154` may follow it. Powers, decimal points, signs and `//` are malformed.
    """

    needs_answer: ClassVar[bool] = True

    must_use_all: bool = False
    """Every number has to be used."""
    right: float = 1.0
    legal: float = 0.0
    """An expression of the numbers with another value, or followed by a false one."""
    wrong: float = 0.0

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """One of the three values; details `no_answer`, `malformed`, `other_numbers` and `other_value`.

        Raises `DataError` for an answer that is neither form.
        """
        answer = str(answer)
        if not answer:
            raise nothing_to_compare("countdown", example)
        numbers, target = _asked(answer)
        expression, is_claimed = _found(text, target)
        if expression is None:
            return Score(value=self.wrong, detail="malformed" if text.strip() else "no_answer")
        used = Counter(expression.numbers)
        if used - numbers or (self.must_use_all and used != numbers):
            return Score(value=self.wrong, detail="other_numbers")
        if expression.value != target or not is_claimed:
            return Score(value=self.legal, detail="other_value")
        return Score(value=self.right)


@functools.lru_cache(maxsize=1024)
def _asked(answer: str) -> tuple[Counter[int], int]:
    """The numbers, and what is to be made of them."""
    numbers, equals, target = answer.rpartition("=")
    try:
        if equals:
            return _counted(numbers), _integer(target)
        solution = read_expression(answer)
        if solution.value.denominator == 1:
            return Counter(solution.numbers), int(solution.value)
    except NotAnExpression:
        pass
    raise DataError(
        f"expected a solution with a whole value, such as (25-3)*7, or numbers and a value, such as 3 7 25 = 154; "
        f"found {answer[:200]!r}"
    )


def _counted(text: str) -> Counter[int]:
    """Numbers between spaces or commas."""
    words = text.replace(",", " ").split()
    if not words:
        raise NotAnExpression(text)
    return Counter(map(_integer, words))


def _integer(text: str) -> int:
    """A whole number in plain digits; `int` would read more than these."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise NotAnExpression(text)
    return int(text)


_SIGNS = {
    "\\times": "*",
    "\\cdot": "*",
    "\\div": "/",
    "×": "*",
    "·": "*",
    "÷": "/",
    "−": "-",
    "\\left(": "(",
    "\\right)": ")",
}


def _plainly(answer: str) -> str:
    """The signs of print and of LaTeX as those of a keyboard, without a full stop, dollars or backticks around it."""
    for sign, plain in _SIGNS.items():
        answer = answer.replace(sign, plain)
    return answer.strip(" `$\t").removesuffix(".").strip(" `$\t")


def _found(text: str, target: int) -> tuple[Expression | None, bool]:
    """A completion's expression, and whether what it says of its value is true; no claim is."""
    answer = marked_answer(text)
    if answer is None:
        answer = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    left, equals, claim = _plainly(answer).partition("=")
    try:
        return read_expression(left), not equals or _integer(claim) == target
    except NotAnExpression:
        return None, False
