"""Whether two mathematical answers are the same. Values are left to a judge: a cheap exact one, or one in a worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from whet.text.formula import TooBig, Unreadable, read
from whet.text.latex import squeezed, words_of
from whet.text.rational import exact
from whet.verifiers._math_structure import Answer, as_intervals, mirrored, readings, relation
from whet.verifiers._math_units import clash, without_unit

Verdict = Literal["equal", "different", "undecided"]
Judge = Callable[[str, str, str], Verdict]
"""`judge(sign, gold, found)`: `value` asks whether two formulas have the same value; `=`, `\\ne`, `<` and `\\le`
whether they are zero, not zero, positive or not negative for the same values of their variables."""

MAX_PARTS = 64


class NotExact(Exception):
    """The exact judge cannot say."""


def compare(gold: str, found: str, judge: Judge) -> Verdict:
    """Whether two texts are the same answer. Raises `TooLarge`, and what the judge raises."""
    ways = [(g, f) for g in readings(gold) for f in readings(found)]
    verdicts = []
    for g, f in ways:
        verdicts.append(_answers(g, f, judge))
        if verdicts[-1] == "equal":
            return "equal"
    return "undecided" if "undecided" in verdicts else "different"


def exactly(sign: str, gold: str, found: str) -> Verdict:
    """The judge of rational numbers; raises `NotExact` for everything else."""
    if sign != "value":
        raise NotExact
    try:
        values = [exact(read(text)) for text in (gold, found)]
    except (Unreadable, TooBig, RecursionError):  # a sum of hundreds is a tree of as many levels
        raise NotExact from None
    if None in values:
        raise NotExact
    return "equal" if values[0] == values[1] else "different"


def _answers(gold: Answer, found: Answer, judge: Judge) -> Verdict:
    if squeezed(gold.text) == squeezed(found.text) and gold.kind == found.kind == "value":
        return "equal"
    if found.kind != gold.kind or found.kind == "list":
        gold, found = _as_sets(gold, found), _as_sets(found, gold)
    if (gold.kind, len(gold.parts)) != (found.kind, len(found.parts)):
        return "different"
    if gold.kind == "value":
        return _relations(gold.text, found.text, judge)
    if gold.kind in ("list", "union"):
        return _matched(gold.parts, found.parts, judge)
    if gold.kind == "row" and (gold.text[0], gold.text[-1]) != (found.text[0], found.text[-1]):
        return "different"
    return _all(_answers(g, f, judge) for g, f in zip(gold.parts, found.parts, strict=True))


def _as_sets(answer: Answer, other: Answer) -> Answer:
    """Inequalities as intervals, where the other answer has intervals."""
    if answer.kind in ("value", "list") and other.kind in ("row", "union"):
        return as_intervals(answer) or answer
    return answer


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    worst: Verdict = "equal"
    for verdict in verdicts:
        if verdict == "different":
            return "different"
        worst = verdict if verdict == "undecided" else worst
    return worst


def _matched(gold: Sequence[Answer], found: Sequence[Answer], judge: Judge) -> Verdict:
    """Each part with another one of the same value; equality is transitive, so the first that fits will do."""
    if len(gold) > MAX_PARTS:
        return "undecided"
    waiting, worst = list(found), ["equal"]
    for part in gold:
        verdicts = [_answers(part, other, judge) for other in waiting]
        if "equal" in verdicts:
            waiting.pop(verdicts.index("equal"))
        elif "undecided" not in verdicts:
            return "different"
        else:
            worst.append("undecided")
    return "undecided" if "undecided" in worst else "equal"


def _relations(gold: str, found: str, judge: Judge) -> Verdict:
    (g, g_signs), (f, f_signs) = relation(gold), relation(found)
    if not {*g_signs, *f_signs} - {"="}:
        return _equations(g, f, judge)
    (g, g_signs), (f, f_signs) = _upwards(g, g_signs), _upwards(f, f_signs)
    if g_signs != f_signs:
        return "different"
    if len(g_signs) == 1:
        return judge(g_signs[0], f"({g[1]})-({g[0]})", f"({f[1]})-({f[0]})")
    return _all(_values(a, b, judge) for a, b in zip(g, f, strict=True))


def _upwards(sides: list[str], signs: list[str]) -> tuple[list[str], list[str]]:
    return mirrored(sides, signs) if signs and signs[0] in (">", "\\ge") else (sides, signs)


def _equations(gold: list[str], found: list[str], judge: Judge) -> Verdict:
    """`x = 5` is 5 where the other names no variable, and `2 + 3 = 5` is 5; two equations are compared as equations."""
    if len(gold) == 1 or (len(found) == 1 and _NAME.fullmatch(gold[0])):
        return _values(gold[-1], found[-1], judge)
    if len(found) == 1:
        return "different"
    if squeezed(gold[0]) == squeezed(found[0]):
        return _values(gold[-1], found[-1], judge)
    return judge("=", f"({gold[0]})-({gold[-1]})", f"({found[0]})-({found[-1]})")


def _values(gold: str, found: str, judge: Judge) -> Verdict:
    if squeezed(gold) == squeezed(found):
        return "equal"
    if not re.search(r"\d", gold + found) and re.search(_WORDS, gold + found):
        if words_of(gold) == words_of(found):
            return "equal"
        if re.search(_WORDS, gold):
            return "different"
    texts = gold, found
    (gold, gold_unit), (found, found_unit) = without_unit(gold), without_unit(found)
    if clash(gold_unit, found_unit):
        return "different"
    if (_is_marked(gold) and found != texts[1].strip()) or (_is_marked(found) and gold != texts[0].strip()):
        return "different"  # 66% or 66 in base 8, and a unit
    if _has_words(gold) or _has_words(found):
        return "equal" if words_of(gold) == words_of(found) else "different"
    based = _BASED.fullmatch(gold.replace(" ", "")), _BASED.fullmatch(found.replace(" ", ""))
    if any(based):
        return _in_base(gold, found, based)
    return _percentages(gold, found, judge)


def _is_marked(text: str) -> bool:
    return text.endswith("%") or _BASED.fullmatch(text.replace(" ", "")) is not None


def _has_words(text: str) -> bool:
    """In `2ABC` letters are variables or points, which `ABC` alone need not be."""
    return re.search(_LONG_WORDS if re.search(r"\d", text) else _WORDS, text) is not None


def _in_base(gold: str, found: str, based: tuple[re.Match[str] | None, re.Match[str] | None]) -> Verdict:
    """Digits with a base: the same digits, and the same base where both name one."""
    digits = [match[1] if match else text.strip() for match, text in zip(based, (gold, found), strict=True)]
    bases = {match[2] for match in based if match}
    return "equal" if digits[0].lower() == digits[1].lower() and len(bases) == 1 else "different"


def _percentages(gold: str, found: str, judge: Judge) -> Verdict:
    """`50%` is 50, and it is 0.5; two percentages are compared as they stand."""
    bare = [text.removesuffix("%").strip() for text in (gold, found)]
    verdict = judge("value", *bare)
    if verdict == "equal" or gold.endswith("%") == found.endswith("%"):
        return verdict
    hundredths = [f"({b})/100" if b != text else b for b, text in zip(bare, (gold, found), strict=True)]
    return judge("value", *hundredths)


_NAME = re.compile(
    r"(?:\\text ?\{[^{}]*\}|\\[A-Za-z]+|[A-Za-z]|[A-Z]+|[A-Za-z]{4}[A-Za-z ]*)(?:_\w|_\{\w+\})?'*(?:\([^()]*\))?"
)
_LONG_WORDS = r"\\text(?![A-Za-z])|(?<![\\A-Za-z])[A-Za-z]{4,}"
_WORDS = rf"{_LONG_WORDS}|(?<![\\A-Za-z])[A-Z]{{3,}}"
_BASED = re.compile(r"([0-9A-Za-z]*\d[0-9A-Za-z]*)_\{?(\d+)\}?")
