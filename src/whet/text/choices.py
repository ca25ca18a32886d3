"""Reads which option of a multiple-choice question a text chooses: `(B)`, `B.`, `The answer is B`, `**B**`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from whet.text.tags import marked_answer

LETTERS = "ABCDEFGHIJ"

# Every repeat is bounded, so that a hostile text costs no square.
_AND = r"(?:\s{0,3}(?:[,;/&|+]|\band\b|\bor\b)\s{0,3}|\s{1,3})(?:(?:option|choice)\s{1,3})?"
_ENCLOSED = r"\([A-Ja-j]\)|[A-Ja-j]\)"
_BEFORE_WORD = r"(?![\s]{1,3}(?!(?:and|or|because|since)\b)(?-i:[a-z]))"  # the article, or I
_LETTER = rf"(?:{_ENCLOSED}|[A-J](?!\w)[.:]?{_BEFORE_WORD})"
_ALONE = re.compile(rf"(?:(?:option|choice)\s{{1,3}})?{_LETTER}(?:{_AND}{_LETTER}){{0,20}}", re.IGNORECASE)
_ENUMERATED = re.compile(rf"(?:{_ENCLOSED}|[A-J][.:](?=\s))(?:{_AND}{_LETTER}){{0,20}}(?!\w)")
_POINTED_TO = re.compile(
    rf"(?:(?:option|choice)\s{{1,3}})?{_LETTER}(?:{_AND}{_LETTER}){{0,20}}"
    r"(?=\s{0,3}(?:$|[.,;:!?](?:\s|$)|[-–—]\s|because\b|since\b)|(?<=[.:)]))"
)
_SET_APART = re.compile(r"(?<![\w(])\(([A-J])\)(?!\w)|\b(?:[Oo]ption|[Cc]hoice)\s{1,3}([A-J])(?!\w)")
_PHRASE = re.compile(
    r"\b(?:answer|choice|option)\s{0,3}(?:\*\*|__)?\s{0,3}"
    r"(?:\b(?:is|(?:must|should|would|has to|will) be)\b\s{0,3}:?|[:=])(?:\*\*|__)?"
    r"|\bI\s{1,3}(?:choose|chose|pick|select)\b|^(?:thus|hence|therefore|so|answer)\b,?(?=\s{1,3}\(?[A-J]\b)",
    re.IGNORECASE | re.MULTILINE,
)
_IS_RIGHT = re.compile(r"^(?:option |choice )?\(?([A-J])\)? is (?:the )?(?:correct|right)\b", re.IGNORECASE)
_HEDGE = re.compile(
    r"\b(?:or|perhaps|maybe|possibly|also|could|might|otherwise|alternatively|no|actually)\b[^\n]{0,40}?"
    r"(?<!\w)\(?((?-i:[A-J]))(?!\w)(?!\s{1,3}(?-i:[a-z]))",
    re.IGNORECASE,
)
_LATEX = r"\\(?:text|textbf|mathrm|mathbf|boxed)\s?"
_BOLD_LETTER = re.compile(rf"(?<!\w)(?:\*\*|__|{_LATEX}\{{)\(?([A-J])[.:)]?(?:\*\*|__|\}})(?!\w)")
_DECORATION = re.compile(rf"{_LATEX}\{{([^{{}}]{{0,200}})\}}|\*\*|__|[`$]|\\[()\[\]]")


def chosen(text: str, options: Sequence[str] = ()) -> frozenset[str]:
    """The letters that a completion ends up with; empty when it chooses nothing that there is.

    The marked answer decides (`<answer>`, else `####`, else `\\boxed{}`). Without one: the last line, when it is only
    letters or an option's text; else what follows the last `answer is`, `I choose` or `thus`; else the letters set
    apart in the last line. A letter after `or`, `perhaps` and the like is chosen too.
    The letter of a word is none: `A dog` chooses nothing.
    """
    marked = marked_answer(text)
    last = text.rstrip().rpartition("\n")[2] if marked is None else marked
    found = _alone(last, options)
    pointed_to = _after_phrase(text) if marked is None else marked
    if not found and pointed_to is not None:
        found = _first(_POINTED_TO, pointed_to, options)
    if not found and (marked is not None or pointed_to is None):
        found = _first(_ENUMERATED, last, options)
    if not found and (is_right := _IS_RIGHT.match(_undecorated(last))):
        found = frozenset(is_right[1].upper())
    if pointed_to is not None and not _by_text(pointed_to, options):
        found |= frozenset(_HEDGE.findall(_undecorated(pointed_to)))
    if marked is not None or (not found and pointed_to is None):
        found |= _set_apart(last)
    return found & frozenset(LETTERS[: len(options) or len(LETTERS)])


def plain(text: str) -> str:
    """An option's text without emphasis, LaTeX marks, case and the full stop behind it, with single spaces."""
    return " ".join(_undecorated(text).casefold().split()).strip("\"'").removesuffix(".")


def _after_phrase(text: str) -> str | None:
    """The rest of the line after the last `answer is`, or the line below it."""
    ends = [match.end() for match in _PHRASE.finditer(text)]
    return text[ends[-1] :].lstrip().partition("\n")[0] if ends else None


def _alone(line: str, options: Sequence[str]) -> frozenset[str]:
    """The letters of a line of nothing else, or those of the options with this text."""
    line = _undecorated(line)
    is_letters = _ALONE.fullmatch(line.rstrip(".:!")) or _ALONE.fullmatch(line)
    return _by_text(line, options) | (_letters_in(line) if is_letters else frozenset())


def _first(form: re.Pattern[str], line: str, options: Sequence[str]) -> frozenset[str]:
    """The letters that a line begins with and those whose text follows them, or those whose text is its sentence."""
    line = _undecorated(line)
    match = form.match(line)
    if match:
        return _letters_in(match.group()) | _by_text(line[match.end() :].lstrip(" .,;:-–—"), options)
    return _by_text(re.split(r"[.;!?](?:\s|$)", line, maxsplit=1)[0], options)


def _set_apart(line: str) -> frozenset[str]:
    """Every letter in parentheses or in bold, or named as an option."""
    return frozenset(letter for pair in _SET_APART.findall(_undecorated(line)) for letter in pair if letter)


def _undecorated(line: str) -> str:
    line = _BOLD_LETTER.sub(r"(\1)", line)  # as a letter in parentheses, it is no word
    return _DECORATION.sub(lambda match: match.group(1) or "", line).strip()


def _letters_in(form: str) -> frozenset[str]:
    words = re.sub(r"\b(?:option|choice|and|or)\b", " ", form, flags=re.IGNORECASE)
    return frozenset(letter.upper() for letter in re.findall(r"[A-Ja-j]", words))


def _by_text(text: str, options: Sequence[str]) -> frozenset[str]:
    said = plain(text)
    return frozenset(LETTERS[n] for n, option in enumerate(options) if said and plain(option) == said)
