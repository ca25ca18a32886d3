"""Reads `(25 - 3) * 7`: whole numbers, + - * / and parentheses, computed exactly. Nothing is evaluated as Python."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 1000
MAX_NUMBERS = 64
MAX_DIGITS = 18
"""Of a number: with `MAX_NUMBERS` of them no result has more than 1,152 digits."""

_TOKEN = re.compile(r"\s*(?:([0-9]+)|([-+*/()]))")
_OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_BINDS = {"(": 0, "+": 1, "-": 1, "*": 2, "/": 2}


class NotAnExpression(ValueError):
    """A text of another form, too long, or with a division by zero."""


@dataclass(frozen=True, slots=True)
class Expression:
    """What an expression says."""

    value: Fraction
    numbers: tuple[int, ...]
    """All that are written in it, in their order."""


def read_expression(text: str) -> Expression:
    """The expression that is the whole text, but for white space; raises `NotAnExpression`.

    A sign, a power, a decimal point, digits of other scripts and brackets without an operation between are no part of
    one. The work is linear in the length, and nested parentheses take no stack.
    """
    values: list[Fraction] = []
    waiting: list[str] = []  # operations and opening parentheses
    numbers: list[int] = []
    wants_value = True
    for token in _tokens(text):
        if wants_value != (token.isdigit() or token == "("):
            raise NotAnExpression(f"{token} stands where it cannot")
        if token == "(":
            waiting.append(token)
        elif token == ")":
            _compute(values, waiting, 1)
            if not waiting:
                raise NotAnExpression("a parenthesis is closed and was not opened")
            waiting.pop()
        elif token in _OPERATIONS:
            _compute(values, waiting, _BINDS[token])
            waiting.append(token)
            wants_value = True
        else:
            numbers.append(int(token))
            values.append(Fraction(numbers[-1]))
            wants_value = False
    if wants_value or len(numbers) > MAX_NUMBERS:
        raise NotAnExpression("it ends too early, or has too many numbers")
    _compute(values, waiting, 1)
    if waiting:
        raise NotAnExpression("a parenthesis is not closed")
    return Expression(values[0], tuple(numbers))


def _tokens(text: str) -> Iterator[str]:
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise NotAnExpression(f"longer than {MAX_CHARACTERS} characters")
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(match.group(1) or "") > MAX_DIGITS:
            raise NotAnExpression(
                f"{text[at : at + 20]!r} is neither a number of at most {MAX_DIGITS} digits nor + - * / ( )"
            )
        yield match.group(1) or match.group(2)
        at = match.end()


def _compute(values: list[Fraction], waiting: list[str], binding: int) -> None:
    """Carries out what binds as tightly, or more, back to the last opening parenthesis."""
    while waiting and _BINDS[waiting[-1]] >= binding:
        right, left = values.pop(), values.pop()
        try:
            values.append(_OPERATIONS[waiting.pop()](left, right))
        except ZeroDivisionError:
            raise NotAnExpression("a division by zero") from None
