"""Values of formulas with many digits, by mpmath. Runs in a worker: a value may take long for all limits here."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from mpmath import mp

from whet.text.formula import TooBig, Tree
from whet.text.rational import exact

MAX_EXPONENT_BITS, MAX_ARGUMENT = 2**16, 2**30


def value(tree: Tree, point: dict[str, Fraction], digits: int) -> Any | None:
    """A real or complex number or an infinity of mpmath; None where there is no value. Raises `TooBig`."""
    with mp.workdps(digits + 10):
        try:
            found = _value(tree, point)
        except (ZeroDivisionError, ValueError, OverflowError):
            return None
        return None if mp.isnan(found) else found


def difference(gold: Any, found: Any, digits: int) -> Any:
    """|gold - found|; infinite where one is infinite, or both with other signs."""
    with mp.workdps(digits + 10):
        return (
            mp.mpf(0) if gold == found else mp.inf if mp.isinf(gold) or mp.isinf(found) else abs(gold - found)
        )


def ratio(gold: Tree, found: Tree, point: dict[str, Fraction], digits: int) -> Any | None:
    """gold / found, a number; None where there is none."""
    with mp.workdps(digits + 10):
        top, bottom = value(gold, point, digits), value(found, point, digits)
        if top is None or bottom is None or bottom == 0 or mp.isinf(top) or mp.isinf(bottom):
            return None
        return mp.mpc(top / bottom)


def _value(tree: Tree, point: dict[str, Fraction]) -> Any:
    kind = tree[0]
    if kind == "number":
        return _rational(tree[1])
    if kind == "symbol":
        return _rational(point[tree[1]])
    if kind == "constant":
        return {"pi": mp.pi, "e": mp.e, "i": mp.j, "infinity": mp.inf}[tree[1]] * 1
    if kind == "function":
        return _function(tree[1], _value(tree[2], point))
    if kind in ("factorial", "binomial"):
        return _counted(tree)
    if kind in ("^", "root"):
        return _power(tree, point)
    return _OPERATIONS[kind](*(_value(part, point) for part in tree[1:]))


def _rational(number: Fraction) -> Any:
    return mp.mpf(number.numerator) / number.denominator


def _counted(tree: Tree) -> Any:
    """Factorials and binomial coefficients are of plain whole numbers only."""
    number = exact(tree)
    if number is None:
        raise ValueError("no whole number")
    return _rational(number)


def _power(tree: Tree, point: dict[str, Fraction]) -> Any:
    """Odd roots of negative numbers are real, as at school: the cube root of -8 is -2."""
    base = _value(tree[1], point)
    degree = exact(tree[2])
    exponent = 1 / degree if tree[0] == "root" and degree else degree if tree[0] == "^" else None
    power = _rational(exponent) if exponent is not None else _value(tree[2], point)
    if tree[0] == "root" and exponent is None:
        power = 1 / power
    if base == 0:
        return mp.mpf(1) if power == 0 else mp.mpf(0) if mp.re(power) > 0 else 1 / base
    if not (mp.isinf(base) or mp.isinf(power)):
        bits = abs(mp.log(abs(base), 2)) * abs(power)
        if bits > MAX_EXPONENT_BITS:
            raise TooBig("a power of many digits")
    if exponent is not None and exponent.denominator % 2 == 1 and mp.im(base) == 0 and mp.re(base) < 0:
        size = mp.power(-mp.re(base), power)
        return -size if exponent.numerator % 2 else size
    return mp.power(base, power)


def _function(name: str, argument: Any) -> Any:
    if not mp.isinf(argument) and abs(argument) > MAX_ARGUMENT and name not in ("ln", "log"):
        raise TooBig("a function of a large number")
    if name == "log":
        return mp.log10(argument)
    return _FUNCTIONS[name](argument)


def _whole(argument: Any, rounded: Any) -> Any:
    nearest = mp.nint(mp.re(argument))
    return nearest if abs(argument - nearest) < mp.mpf(10) ** (-mp.dps // 2) else rounded(argument)


_OPERATIONS: dict[str, Any] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "negative": lambda a: -a,
    "absolute": abs,
    "floor": lambda a: _whole(a, mp.floor),
    "ceiling": lambda a: _whole(a, mp.ceil),
}
_FUNCTIONS: dict[str, Any] = {
    "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "cot": mp.cot, "sec": mp.sec, "csc": mp.csc, "arcsin": mp.asin,
    "arccos": mp.acos, "arctan": mp.atan, "sinh": mp.sinh, "cosh": mp.cosh, "tanh": mp.tanh, "ln": mp.log,
    "exp": mp.exp, "arcsec": mp.asec, "arccsc": mp.acsc, "arccot": mp.acot, "arcsinh": mp.asinh, "arccosh": mp.acosh,
    "arctanh": mp.atanh,
}  # fmt: skip
