"""Reads the numbers in a text, exactly and as whole words: never a part of a longer one.

A number is an optional sign and currency sign, digits (with thousands separators in the right places),
decimals, and at most one of an exponent (`1e3` is 1000) or a denominator (`3/4`, in lowest terms: `84/7` is
an exercise, not an answer). A unit may be glued to it (`5%` and `5kg` are 5). What is glued to more digits
(`1.2.3`, `5-10`, `2^3`, `12:30`, `1,00`), multiplied (`5k`, `5 million`) or has more than 256 digits is one
unreadable number. Digits glued to letters before them (`H2O`, `x-3`) are words.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator
from fractions import Fraction
from math import gcd

from whet.text.tags import marked_answer

MAX_DIGITS = 256

# Full-width forms and the other minus signs, one character for one.
_PLAIN = str.maketrans("−–﹣－＋．，％＄／＝", "----+.,%$/=")
_LATEX_SEPARATOR = re.compile(r"\\!|(?<=\d)\{,\}(?=\d)|(?<=\d)\\,(?=\d)")
_SPACED_SIGN = re.compile(r"(?<=[=(:])\s{0,4}([-+])\s{1,4}(?=[\d$.])")
# Repeats of signs and spaces are bounded, so that a text of nothing else costs no square.
_RUN = re.compile(
    r"""(?<!\w) [-+$€£¥√±.]{0,4} \w
        (?: \w | [.^*+\-/×÷·]{1,4}(?=[\w$]) | (?<=\d)[,:\u00a0\u2009\u202f](?=\d) )*
        (?: \s{1,4} (?:hundred|thousand|million|billion|trillion|dozen)\b )?""",
    re.VERBOSE,
)
_NUMBER = re.compile(
    r"""(?P<sign>[-+]?) [$€£¥]? (?P<inner_sign>[-+]?)
        (?P<digits> (?: [1-9]\d{0,2}(?:[,\u00a0\u2009\u202f]\d{3})+ | \d+ ) (?:\.\d*)? | \.\d+ )
        (?: (?P<exponent>[eE][-+]?\d{1,2}) | /(?P<denominator>\d+) )?
        (?P<unit>\D*)""",
    re.VERBOSE,
)
_MULTIPLIER = re.compile(r"\s*(?:[kKMB]|hundred|thousand|million|billion|trillion|dozen)")
_UNKNOWN_COMMAND = re.compile(r"\\(?!text|math|quad|circ|degree)[A-Za-z]")


def numbers_in(text: str) -> Iterator[Fraction | None]:
    """The numbers of a text in order; None for one that cannot be read."""
    return map(_value, _runs(text))


def last_number(text: str) -> Fraction | None:
    """The last number of a text; None when there is none or it cannot be read."""
    newest = collections.deque(_runs(text), maxlen=1)
    return _value(newest[0]) if newest else None


def only_number(text: str) -> Fraction | None:
    """The one number after the last `=` of a short text such as `x = $5`; None for several or none.

    Words around it are allowed; LaTeX commands are not, except those of text and units.
    """
    part = "=" + text.translate(_PLAIN).rpartition("=")[2]
    found = list(numbers_in(part))
    return found[0] if len(found) == 1 and not _UNKNOWN_COMMAND.search(part) else None


def marked_number(text: str) -> Fraction | None:
    """The number of the marked answer (see `tags.marked_answer`); None without one."""
    marked = marked_answer(text)
    return None if marked is None else only_number(marked)


def answer_number(text: str) -> Fraction | None:
    """The number of the marked answer, or the last number of a text that marks none."""
    marked = marked_answer(text)
    return last_number(text) if marked is None else only_number(marked)


def _runs(text: str) -> Iterator[str]:
    """What is written without a space, where it starts like a number."""
    text = text.translate(_PLAIN)
    if "\\" in text or "{," in text:
        text = _LATEX_SEPARATOR.sub(lambda m: "" if m.group() == "\\!" else ",", text)
    for match in _RUN.finditer(_SPACED_SIGN.sub(r"\1", text)):
        if match.group().lstrip("-+$€£¥√±.")[0].isdecimal():
            yield match.group()


def _value(run: str) -> Fraction | None:
    match = _NUMBER.fullmatch(run) if sum(map(str.isdecimal, run)) <= MAX_DIGITS else None
    if match is None or (match["sign"] and match["inner_sign"]):
        return None
    if _MULTIPLIER.fullmatch(match["unit"]) or any(c.isnumeric() for c in match["unit"]):
        return None
    digits = re.sub(r"[^\d.]", "", match["digits"])
    value = Fraction(digits.removesuffix(".") + (match["exponent"] or ""))
    if match["denominator"]:
        bottom = int(match["denominator"])
        if bottom < 2 or value.denominator != 1 or gcd(value.numerator, bottom) != 1:
            return None
        value /= bottom
    return -value if "-" in (match["sign"], match["inner_sign"]) else value
