"""Whether a right answer only repeats a calculation of the question, which has the right value by itself."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from fractions import Fraction

from whet.text.formula import TooBig, Tree, Unreadable, read, symbols
from whet.text.latex import TooLarge, canonical, formulas_in
from whet.verifiers._math_compare import NotExact, compare, exactly

_ZERO, _ONE = ("number", Fraction(0)), ("number", Fraction(1))


def is_restated(found: str, gold: str, prompt: str) -> bool:
    """Whether an answer that equals the gold one is a formula of the question and not the gold answer as it is written.

    The order of terms and factors, and zeros and ones among them, make no other formula. A number is no calculation:
    it may be one that the question lets choose from. Where the question has a calculation with the value of a gold
    number, any calculation repeats it.
    """
    form, gold_form = (_form(canonical(text).rpartition("=")[2]) for text in (found, gold))
    # Without a form the gold answer has a unit, say, and `6` may well be it although the question has a 6.
    if (
        form is None
        or form == gold_form
        or (gold_form is None and not any(isinstance(p, tuple) for p in form))
    ):
        return False
    asked = _asked(prompt)
    if _is_number(form):
        return form in asked and sum(_is_number(one) for one in asked) < 2
    return form in asked or (gold_form is not None and _is_number(gold_form) and _asks_for(prompt, gold))


@functools.lru_cache(maxsize=1024)
def _asks_for(prompt: str, gold: str) -> bool:
    """Whether a calculation in the question has the value of a gold number."""
    return any(_is_calculation(text) and _is_exactly(gold, text) for text in _pieces(prompt))


def _is_calculation(text: str) -> bool:
    form = _form(text)
    return form is not None and not _is_number(form) and not symbols(form)


def _is_exactly(gold: str, text: str) -> bool:
    try:
        return compare(gold, text, exactly) == "equal"
    except (NotExact, TooLarge, TooBig):
        return False


@functools.lru_cache(maxsize=1024)
def _asked(prompt: str) -> frozenset[Tree]:
    """The formulas of a question and the sides of its equations."""
    return frozenset(form for piece in _pieces(prompt) if (form := _form(piece)) is not None)


def _pieces(prompt: str) -> Iterator[str]:
    for formula in formulas_in(prompt) or prompt.splitlines():
        try:
            text = canonical(formula)
        except TooLarge:
            continue
        yield from (text, *re.split(r"[=,]", text))


def _form(text: str) -> Tree | None:
    """What a canonical text writes, whichever notation and order it has for that; None for no formula."""
    try:
        return _normal(read(text))
    except (Unreadable, TooBig):
        return None


def _normal(tree: Tree) -> Tree:
    """The tree with sums and products flat and in one order, without zeros and ones that change nothing."""
    if tree[0] in ("+", "-", "negative"):
        terms = sorted(((s, t) for s, t in _terms(tree, 1) if t != _ZERO), key=repr)
        return terms[0][1] if len(terms) == 1 and terms[0][0] > 0 else ("sum", *terms) if terms else _ZERO
    if tree[0] == "*":
        factors = sorted((f for f in _factors(tree) if f != _ONE), key=repr)
        return factors[0] if len(factors) == 1 else ("product", *factors) if factors else _ONE
    parts = tuple(_normal(part) if isinstance(part, tuple) else part for part in tree[1:])
    return parts[0] if tree[0] in ("/", "^") and parts[1] == _ONE else (tree[0], *parts)


def _terms(tree: Tree, sign: int) -> Iterator[tuple[int, Tree]]:
    if tree[0] in ("+", "-"):
        yield from _terms(tree[1], sign)
        yield from _terms(tree[2], sign if tree[0] == "+" else -sign)
    elif tree[0] == "negative":
        yield from _terms(tree[1], -sign)
    else:
        yield sign, _normal(tree)


def _factors(tree: Tree) -> Iterator[Tree]:
    if tree[0] == "*":
        yield from _factors(tree[1])
        yield from _factors(tree[2])
    else:
        yield _normal(tree)


def _is_number(form: Tree) -> bool:
    """A number, a fraction of two, or one of them with a sign or a whole part."""
    if form[0] == "sum":
        signs, terms = {sign for sign, _ in form[1:]}, [term for _, term in form[1:]]
        is_mixed = len(terms) == 2 and {term[0] for term in terms} == {"number", "/"}
        return len(signs) == 1 and all(map(_is_number, terms)) and (len(terms) == 1 or is_mixed)
    return form[0] == "number" or bool(form[0] == "/" and form[1][0] == form[2][0] == "number")
