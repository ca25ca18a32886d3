"""What a mathematical answer is made of: lists, tuples, intervals, sets, unions, matrices, and values without parts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from whet.text.latex import canonical

Kind = Literal["value", "list", "union", "row", "matrix"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A value with its text, or parts: `list` and `union` in any order, `row` in brackets, the rows of a `matrix`."""

    kind: Kind
    text: str
    parts: tuple[Answer, ...] = ()


def readings(text: str) -> list[Answer]:
    """What a text may mean; two answers for `1,234`, a number or two of them. Raises `TooLarge`."""
    text = canonical(text)
    if text[:1] in _OPEN or not _THOUSANDS.search(text):
        return [structure(text)]
    return [structure(_THOUSANDS.sub(lambda m: m.group().replace(",", ""), text)), structure(text)]


def structure(text: str) -> Answer:
    """The parts of a canonical text."""
    text = _MEMBER_OF.sub("", _LEADING_PROSE.sub("", text.strip()))
    text = _APPROXIMATELY.sub("", text).strip()
    if re.sub(r"[ {}]", "", text).casefold() in _ALL_REALS:
        text = r"(-\infty,\infty)"
    alone = re.fullmatch(r"\\text ?\{([^{}]*)\}", text)
    if alone and re.search(r"[,(\d]", alone[1]):
        text = alone[1].strip()
    if _SPACED.fullmatch(text):
        return Answer("value", text.replace(" ", ""))
    if scientific := _SCIENTIFIC.fullmatch(text):
        return Answer("value", f"{scientific[1]}*10^{{{int(scientific[2])}}}")
    matrix = _MATRIX.fullmatch(text)
    if matrix and matrix[1] not in ("vmatrix", "Vmatrix"):  # which are a number
        rows = [row.split("&") for row in matrix[2].split("⏎") if row.strip()]
        return Answer("matrix", text, tuple(Answer("row", "()", tuple(map(structure, row))) for row in rows))
    return _separated(text) or _bracketed(text) or _plus_minus(text) or Answer("value", text)


def as_intervals(answer: Answer) -> Answer | None:
    """An inequality in one variable, or several with `or` between them, as an interval or a union; None for others."""
    if answer.kind == "list":
        parts = [as_intervals(part) for part in answer.parts]
        return None if None in parts else Answer("union", answer.text, tuple(p for p in parts if p))
    sides, signs = relation(answer.text)
    if answer.kind != "value" or not signs or any(sign not in _MIRROR for sign in signs):
        return None
    if signs[0] in (">", "\\ge"):
        sides, signs = mirrored(sides, signs)
    if len(sides) == 2 and _VARIABLE.fullmatch(sides[0]):
        sides, signs = ["-\\infty", *sides], ["<", *signs]
    elif len(sides) == 2 and _VARIABLE.fullmatch(sides[1]):
        sides, signs = [*sides, "\\infty"], [*signs, "<"]
    if len(sides) != 3 or not _VARIABLE.fullmatch(sides[1]) or not {*signs} <= {"<", "\\le"}:
        return None
    left, right = "(["[signs[0] == "\\le"], ")]"[signs[1] == "\\le"]
    return structure(f"{left}{sides[0]},{sides[2]}{right}")


def relation(text: str) -> tuple[list[str], list[str]]:
    """The sides of an equation or inequality and the signs between them; one side and no sign for a formula."""
    pieces, start, signs = [], 0, []
    depths = _depths(text)
    for match in _RELATION.finditer(text):
        if depths[match.start()] == 0:
            pieces.append(text[start : match.start()].strip())
            signs.append(match.group().replace("\\equiv", "="))
            start = match.end()
    return [*pieces, text[start:].strip()], signs


def mirrored(sides: list[str], signs: list[str]) -> tuple[list[str], list[str]]:
    """The same relations, read from right to left."""
    return sides[::-1], [_MIRROR.get(sign, sign) for sign in signs[::-1]]


_OPEN, _CLOSE = "([{⟅", ")]}⟆"
_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])")
_SPACED = re.compile(r"-?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_SCIENTIFIC = re.compile(r"(-?\d+(?:\.\d+)?)[eE]([+-]?\d{1,3})")
_MEMBER_OF = re.compile(r"^[A-Za-z]\s*\\in(?![A-Za-z])\s*")
_LEADING_PROSE = re.compile(
    r"^(?:[A-Za-z']+ +){1,12}(?:is|are|equals)(?: +(?:equal to|exactly))?\s*:?\s+(?=[\\\d(\[.-]|[A-Za-z]\b)"
)
_APPROXIMATELY = re.compile(r"^\\approx(?![A-Za-z])|(?<=.)\\approx(?![A-Za-z])[^,;]*$")
_ALL_REALS = {"\\mathbbr", "\\r", "\\reals", "allrealnumbers", "\\textallrealnumbers"}
_MATRIX = re.compile(
    r"\\begin ?\{([bpvBV]?matrix|array)\}(?:\{[lcr| ]*\})?((?:(?!\\begin|\\end).)*)\\end ?\{\1\}", re.DOTALL
)
_WORD = r"(?:\\text ?\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z])(?:and|or)(?![A-Za-z]))"
_COMMA = re.compile(rf"\s*[,;]?\s*{_WORD}\s*|\s*[,;]\s*")
_CUP = re.compile(r"\s*\\cup(?![A-Za-z])\s*|(?<=[)\]])\s*U\s*(?=[(\[])")
_RELATION = re.compile(r"=|<|>|\\(?:le|ge|ne|equiv)(?![A-Za-z])")
_MIRROR = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
_VARIABLE = re.compile(r"[A-Za-z]|\\[a-z]+")
_PLUS_MINUS = re.compile(r"\\(pm|mp)(?![A-Za-z])\s*")


def _separated(text: str) -> Answer | None:
    for kind, separator in (("list", _COMMA), ("union", _CUP)):
        pieces = _split(text, separator)
        if len(pieces) > 1:
            return Answer("list" if kind == "list" else "union", text, tuple(map(structure, pieces)))
    return None


def _bracketed(text: str) -> Answer | None:
    """A tuple, an interval or a set, when one pair of brackets holds the whole text."""
    if len(text) < 3 or text[0] not in _OPEN or text[-1] not in _CLOSE or 0 in _depths(text)[1:-1]:
        return None
    inner = text[1:-1].strip()
    if text[0] in "⟅{" or (text[0] + text[-1] == "()" and len(_split(inner, _COMMA)) == 1):
        return structure(inner)
    pieces = _split(inner, _COMMA)
    return Answer("row", text, tuple(map(structure, pieces))) if len(pieces) > 1 else None


def _plus_minus(text: str) -> Answer | None:
    """The two values of one with plus-minus signs in it, all upper ones and all lower ones."""
    if not _PLUS_MINUS.search(text):
        return None
    signs = ({"pm": "+", "mp": "-"}, {"pm": "-", "mp": "+"})
    both = [_PLUS_MINUS.sub(lambda m, s=sign: s[m[1]], text) for sign in signs]  # type: ignore[misc]
    return Answer("list", text, tuple(Answer("value", one.removeprefix("+")) for one in both))


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """The pieces between the separators outside of all brackets; empty ones are left out."""
    pieces, start, depths = [], 0, _depths(text)
    for match in separator.finditer(text):
        if depths[match.start()] == 0 and depths[match.end() - 1] == 0:
            pieces.append(text[start : match.start()])
            start = match.end()
    return [piece.strip() for piece in (*pieces, text[start:]) if piece.strip()]


def _depths(text: str) -> list[int]:
    """How many brackets each character is in; a bracket itself counts as outside of its own pair."""
    depths, depth = [], 0
    for char in text:
        depth -= char in _CLOSE
        depths.append(depth)
        depth += char in _OPEN
    return depths
