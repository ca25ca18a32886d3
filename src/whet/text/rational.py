"""Exact values of formulas that are plain arithmetic on rational numbers, within limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from whet.text.formula import TooBig, Tree

MAX_BITS, MAX_FACTORIAL = 4096, 256


def exact(tree: Tree) -> Fraction | None:
    """The value of a tree that is rational by plain arithmetic, else None, as of a division by 0. Raises `TooBig`."""
    kind = tree[0]
    if kind == "number":
        return tree[1]  # type: ignore[no-any-return]
    if kind not in _ARITHMETIC:
        return None
    values = [exact(part) for part in tree[1:]]
    if any(value is None for value in values):
        return None
    return _ARITHMETIC[kind](*values)


def whole_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """A rational power with a whole exponent, else None. Raises `TooBig` above 4096 bits."""
    if exponent.denominator != 1 or (base == 0 and exponent < 0):
        return None
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits > 1 and bits * abs(exponent.numerator) > MAX_BITS:
        raise TooBig("a power of many digits")
    return base**exponent.numerator if abs(base) != 1 else base ** (exponent.numerator % 2)


def factorial(value: Fraction) -> Fraction | None:
    """n! of a whole number from 0, else None. Raises `TooBig` above 256."""
    if value.denominator != 1 or value < 0:
        return None
    return binomial(value, None)


def binomial(top: Fraction, bottom: Fraction | None) -> Fraction | None:
    """The binomial coefficient of whole numbers from 0, top! without a bottom. Raises `TooBig` above 256."""
    if any(v.denominator != 1 or v < 0 for v in (top, bottom or Fraction(0))):
        return None
    if max(top, bottom or 0) > MAX_FACTORIAL:
        raise TooBig("a factorial of a large number")
    n = int(top)
    return Fraction(math.factorial(n) if bottom is None else math.comb(n, int(bottom)))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 4 * MAX_BITS:
        raise TooBig("a number of many digits")
    return value


_ARITHMETIC: dict[str, Callable[..., Fraction | None]] = {
    "+": lambda a, b: _bounded(a + b),
    "-": lambda a, b: _bounded(a - b),
    "*": lambda a, b: _bounded(a * b),
    "/": lambda a, b: _bounded(a / b) if b else None,
    "negative": lambda a: -a,
    "^": whole_power,
    "factorial": factorial,
    "binomial": binomial,
    "absolute": abs,
    "floor": lambda a: Fraction(a.__floor__()),
    "ceiling": lambda a: Fraction(a.__ceil__()),
}
