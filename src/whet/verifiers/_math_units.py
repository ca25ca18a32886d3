"""Takes the unit off a value: `5 \\text{ cm}^2`, `12 apples`, `90°`. Two different units of one kind are told apart."""

from __future__ import annotations

import re

_NAMES = {
    "mm": "mm millimeter millimetre", "cm": "cm centimeter centimetre", "m": "m meter metre",
    "km": "km kilometer kilometre", "in": "in inch inche", "ft": "ft foot feet", "yd": "yd yard", "mi": "mi mile",
    "s": "s sec second", "min": "min minute", "h": "h hr hour", "day": "day", "week": "week", "month": "month",
    "year": "year yr", "g": "g gram", "kg": "kg kilogram", "lb": "lb pound", "oz": "oz ounce", "cent": "cent",
    "dollar": "dollar usd", "gal": "gal gallon", "l": "l liter litre", "ml": "ml milliliter", "degree": "degree",
    "mph": "mph",
}  # fmt: skip
_BASE = {alias: name for name, aliases in _NAMES.items() for alias in aliases.split()}
_POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}
_SHORT = {alias for alias in _BASE if len(alias) > 1} | {"sq", "cu"}
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d))?"
_IN_TEXT = re.compile(rf"^(.*?[\w)}}\]|%!°])((?:[\s/*]*\\text ?\{{[^{{}}]*\}}{_POWER})+)$", re.DOTALL)
_PLAIN = re.compile(
    rf"^(.*?[\d)}}\]%!°]|.*?\\pi) *((?:[A-Za-z]+\.?)(?:[ /]+(?:[A-Za-z]+\.?))*{_POWER})$", re.DOTALL
)


_HEDGES = re.compile(r"\d|\b(?:or|and|maybe|perhaps|possibly|not)\b", re.IGNORECASE)
"""No unit, but another answer beside the first."""


def without_unit(text: str) -> tuple[str, frozenset[str]]:
    """A canonical text without its unit, and the known units in that: none of `5 apples`."""
    text = text.strip()
    if text.endswith("°") and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text):
        return text[:-1].strip(), frozenset({"degree"})
    found = _IN_TEXT.match(text) or _PLAIN.match(text)
    if (
        found is None
        or (found.re is _PLAIN and not _is_unit(found[2]))
        or not re.search(r"[\dA-Za-z]", found[1])
        or _HEDGES.search(re.sub(r"\^\s*\{?\s*-?\d", "", found[2]))
    ):
        return text, frozenset()
    words = re.findall(r"[a-z]+|\^\s*\{?\s*-?\d", found[2].replace("\\text", " ").lower())
    return found[1].strip().removesuffix("°").strip(), _known(words)


def _is_unit(words: str) -> bool:
    """Whether plain letters after a number are a unit and not a product of variables."""
    first = re.match(r"[A-Za-z]+", words)
    return first is not None and (len(first.group()) > 3 or first.group().lower() in _SHORT)


def _known(words: list[str]) -> frozenset[str]:
    powers = {_POWERS.get(word) or "^" + word[-1] for word in words if word in _POWERS or word[0] == "^"}
    bases = {_BASE.get(word) or _BASE.get(word.removesuffix("s")) for word in words}
    return frozenset(base for base in bases if base) | powers


def clash(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two units are known to differ: in what they measure by, or in the power of the same."""
    powers = [{part for part in unit if part[0] == "^"} for unit in (one, other)]
    bases = one - powers[0], other - powers[1]
    if all(bases):
        return one != other
    return all(powers) and powers[0] != powers[1]
