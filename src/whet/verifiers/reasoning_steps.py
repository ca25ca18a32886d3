"""Scores the worked arithmetic in a completion, whatever its answer."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from fractions import Fraction

from pydantic import Field

from whet.interfaces import Verifier
from whet.types import Example, Score

# Every repeat is bounded, so that a hostile text costs no square and no huge number.
_NUMBER = r"[$€£]?\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,10})?%?"
_SIGN = r"[ ]{0,2}[-−+*×x/÷][ ]{0,2}"
_STEP = re.compile(
    rf"(?<![\w.,)(=+*×/÷−-])(?<![=+*×x/÷−-][ ])({_NUMBER}(?:{_SIGN}{_NUMBER}){{1,8}})"
    rf"[ ]{{0,2}}=[ ]{{0,2}}(-?{_NUMBER})(?![.,]?[\d%]|{_SIGN}[$€£]?\d)"
)
_TERMS = re.compile(rf"({_NUMBER})|([-−+*×x/÷])")
_SAME = str.maketrans("−×x÷", "-**/")
_PRODUCT: dict[str, Callable[[Fraction, Fraction], Fraction]] = {"*": operator.mul, "/": operator.truediv}


class ReasoningSteps(Verifier):
    """The share of worked steps such as `16 - 3 - 4 = 9` that hold: `cap * right / max(steps, target_steps)`.

    It reads sums, differences, products and quotients of written numbers; equal steps count once, and a result may be
    rounded to the decimals that it shows. It rewards arithmetic that holds, not arithmetic that matters: true steps
    about anything get it all, so the value stays below the 1 of a right answer.
    """

    target_steps: int = Field(default=2, ge=1)
    """Right steps for the full value; more add nothing, and a wrong one always takes away."""
    cap: float = Field(default=0.5, gt=0.0, lt=1.0)
    """The full value: steps alone are never worth a right answer."""

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """A value from 0 to `cap`; details `no_steps` and `wrong_step`."""
        steps = {tuple(map(_spelled, step)): _holds(*step) for step in _STEP.findall(text)}
        if not steps:
            return Score(value=0.0, detail="no_steps")
        right = sum(steps.values())
        value = self.cap * right / max(len(steps), self.target_steps)
        return Score(value=value, detail="" if right == len(steps) else "wrong_step")


def _spelled(side: str) -> str:
    """One way of writing a side: without spaces, commas and zeros in front."""
    return re.sub(r"(?<![\d.])0+(?=\d)", "", re.sub(r"[\s,]", "", side))


def _holds(left: str, right: str) -> bool:
    """Whether a computation gives the result, exactly or rounded to the result's decimals."""
    shown = _number(right)
    try:
        value = _value(left)
    except ZeroDivisionError:
        return False
    decimals = len(re.sub(r"[^\d.]", "", right).partition(".")[2])
    unit = Fraction(1, 10**decimals) / (100 if right.endswith("%") else 1)
    return value == shown or (decimals > 0 and abs(value - shown) <= unit / 2)


def _value(text: str) -> Fraction:
    """The value of numbers with signs between them, products first; raises `ZeroDivisionError`."""
    tokens = [number or sign.translate(_SAME) for number, sign in _TERMS.findall(text)]
    total, product = Fraction(0), _number(tokens[0])
    for sign, token in zip(tokens[1::2], tokens[2::2], strict=True):
        if sign in _PRODUCT:
            product = _PRODUCT[sign](product, _number(token))
        else:
            total, product = total + product, _number(token) * (-1 if sign == "-" else 1)
    return total + product


def _number(text: str) -> Fraction:
    value = Fraction(re.sub(r"[^\d.-]", "", text))
    return value / 100 if text.endswith("%") else value
