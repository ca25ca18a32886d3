"""What of `math_expression` runs in a worker that can be killed: values of 100 digits, and math-verify for the rest."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
from fractions import Fraction
from typing import Any

from whet.text.formula import TooBig, Tree, Unreadable, read, symbols
from whet.text.latex import TooLarge
from whet.verifiers._math_compare import NotExact, Verdict, compare, exactly

LOW, HIGH = 50, 100  # digits
SURE = 40  # digits that agree
POINTS, NEEDED_POINTS = 8, 3
FAR = 1000
"""The last two points lie so much farther out, where a floor is no zero any more."""
RECURSION_LIMIT = 5000  # a tree of 512 parts in a row, several frames each


def equal(gold: str, found: str) -> str:
    """`equal`, `different` or `undecided`; `unread` where a formula needs more than the grammar of `text.formula`."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION_LIMIT))
    try:
        return compare(gold, found, _judge)
    except Unreadable:
        return "unread" if _ADVANCED.search(gold + found) else "different"
    except (TooBig, TooLarge, RecursionError, MemoryError):
        return "undecided"


def warm_up() -> bool:
    """Loads what checks need, so that the first one is as fast as the others."""
    return equal("\\sqrt{8}x", "2\\sqrt{2}x") == "equal" and load()


def _judge(sign: str, gold: str, found: str) -> Verdict:
    try:
        return exactly(sign, gold, found)
    except NotExact:
        pass
    try:
        trees = read(gold), read(found)
    except Unreadable:
        if _ADVANCED.search(gold + found):
            raise
        return "different"
    names = sorted(symbols(trees[0]) | symbols(trees[1]))
    points = _points(names, gold + "\n" + found)
    if sign == "value":
        return _same_values(*trees, points)
    return _same_zeros(*trees, points, needs_positive=sign in ("<", "\\le"))


def _points(names: list[str], seed: str) -> list[dict[str, Fraction]]:
    """Values for the variables, of both signs; nobody who writes an answer knows them before."""
    points = []
    for n in range(POINTS if names else 1):
        point = {}
        for k, name in enumerate(names):
            digest = hashlib.sha256(f"{seed}\n{n}\n{name}".encode(errors="replace")).digest()
            size = Fraction(int.from_bytes(digest[:6], "big") + 1, 2**47)
            size *= FAR if n >= POINTS - 2 else 1
            point[name] = -size if (n >> k % 3) & 1 else size
        points.append(point)
    return points


def _same_values(gold: Tree, found: Tree, points: list[dict[str, Fraction]]) -> Verdict:
    """Whether two formulas agree in 100 digits wherever both have a value."""
    agreed = 0
    for n, point in enumerate(points):
        try:
            here, there = _at(gold, point), _at(found, point)
        except TooBig:
            if n < POINTS - 2:
                raise
            continue  # it lies too far out
        if here is None or there is None:
            continue
        if not _agree(here, there):
            return "different"
        agreed += 1
    return "equal" if agreed >= min(NEEDED_POINTS, len(points)) else "undecided"


def _at(tree: Tree, point: dict[str, Fraction]) -> tuple[Any, Any] | None:
    """The value with 50 and with 100 digits; None where there is none."""
    from whet.verifiers._math_values import value

    values = value(tree, point, LOW), value(tree, point, HIGH)
    return None if None in values else values


def _agree(gold: tuple[Any, Any], found: tuple[Any, Any]) -> bool:
    """Whether the difference is one of rounding: small beside the gold value, and it shrinks with more digits.

    Small alone is a near miss; shrinking alone is what any formula does whose large parts cancel.
    """
    from whet.verifiers._math_values import difference

    if gold == found:
        return True
    if any(value - value != 0 for value in (*gold, *found)):
        return False  # an infinity
    low, high = (difference(g, f, digits) for g, f, digits in zip(gold, found, (LOW, HIGH), strict=True))
    size = abs(gold[1])
    if high * 10 ** (HIGH - 10) <= size:
        return True
    scale = size if size > 1e-30 else 1  # a zero that is computed is as small as its rounding
    return bool(high * 10**SURE <= scale and high * 10**30 <= low)


def _same_zeros(gold: Tree, found: Tree, points: list[dict[str, Fraction]], needs_positive: bool) -> Verdict:
    """Whether one side is the other times a number (a positive one) at every point."""
    from whet.verifiers._math_values import ratio

    ratios = [ratio(gold, found, point, HIGH) for point in points]
    known = [r for r in ratios if r is not None]
    if len(known) < NEEDED_POINTS:
        return "undecided" if len(points) > 1 else "different"
    if known[0] == 0 or any(abs(r - known[0]) > abs(known[0]) * 1e-30 for r in known):
        return "different"
    return "different" if needs_positive and not (known[0].imag == 0 and known[0].real > 0) else "equal"


# --- what the grammar does not read ---

_ADVANCED = re.compile(
    r"\\(?:sum|prod|i?int|lim|det|gcd|bmod|pmod|cap|setminus|mathbb|emptyset|max|min|dot|vec|partial)(?![A-Za-z])"
)
_ALLOWED = re.compile(r"[\w\s\\{}()\[\]^_+\-*/=<>|,.!:;&'%]*")


def load() -> bool:
    """Imports math-verify and sympy, which takes a second, and lets them fill their caches."""
    return _by_math_verify("\\sum_{k=1}^n k", "\\frac{n(n+1)}{2}") == "equal"


def prove(gold: str, found: str) -> str:
    """The verdict of math-verify on two LaTeX texts, where numbers agree in 50 digits too.

    It is asked for LaTeX only: its reader of plain expressions would evaluate them as Python.
    """
    if "__" in gold + found or not (_ALLOWED.fullmatch(gold) and _ALLOWED.fullmatch(found)):
        return "different"
    return _by_math_verify(gold, found)


def _by_math_verify(gold: str, found: str) -> str:
    # Both say at every call that the clock is elsewhere; it is in the pool.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    from math_verify import LatexExtractionConfig, parse, verify
    from math_verify.errors import TimeoutException
    from sympy import Basic

    sides = []
    for text in (gold, found):
        parsed = parse(
            f"${text}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None
        )
        if not parsed or not isinstance(parsed[0], Basic):
            return "different"
        sides.append(parsed[0])
    try:
        is_equal = verify(sides[0], sides[1], float_rounding=30, numeric_precision=50, timeout_seconds=None)
    except TimeoutException:
        return "undecided"
    if not is_equal:
        return "different"
    return "equal" if _numbers_agree(*sides) else "different"


def _numbers_agree(gold: Any, found: Any) -> bool:
    """False where both are numbers that differ in 50 digits: math-verify has said equal of such."""
    try:
        difference = (gold - found).doit().evalf(LOW)
        size = abs(gold.doit().evalf(LOW)) + 1
    except (TypeError, ValueError, AttributeError):
        return True  # sets and relations have no difference
    if not difference.is_number:
        return True
    return bool(abs(difference) < size * Fraction(1, 10**40))
