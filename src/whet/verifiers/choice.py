"""Whether a completion chooses the right option of a multiple-choice question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from whet.errors import DataError, nothing_to_compare
from whet.interfaces import Verifier
from whet.text.choices import LETTERS, chosen, plain
from whet.types import Example, Score


class Choice(Verifier):
    """Full value for the right letter (A to J) or, where the row has a list of options, for the right option's text.

    Read are `B`, `(B)`, `B.`, `B)`, `**B**` and `The answer is B`: in the marked answer (`<answer>`, else `####`, else
    `\\boxed{}`), else in the last line, else after the last `answer is`. The letter of a word is none: `A dog` is no A.
    """

    needs_answer: ClassVar[bool] = True

    column: str = "choices"
    """The field with the options: a list of texts, `{label: [...], text: [...]}`, or `{A: ..., B: ...}`. Rows without
    it are compared by their letters."""
    right: float = 1.0
    wrong: float = 0.0

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The value `right` or `wrong`; details `no_answer`, `several_answers` and `wrong`.

        Raises `DataError` for an answer that is neither a letter nor an option, and for options that are no texts.
        """
        if not answer:
            raise nothing_to_compare("choice", example)
        options = _options(example, self.column)
        gold = _gold(answer, options, example)
        found = chosen(text, options)
        if options:  # two options with one text are one answer
            first = {plain(option): LETTERS[n] for n, option in reversed(list(enumerate(options)))}
            found = frozenset(first[plain(options[LETTERS.index(letter)])] for letter in found)
            gold = first[plain(options[LETTERS.index(gold)])]
        if len(found) != 1:
            return Score(value=self.wrong, detail="several_answers" if found else "no_answer")
        return Score(value=self.right) if gold in found else Score(value=self.wrong, detail="wrong")


def _options(example: Example | None, column: str) -> tuple[str, ...]:
    """The options of a row in the order of their letters; none when the row has no such field."""
    given: Any = example.columns.get(column) if example else None
    if given is None:
        return ()
    if isinstance(given, Mapping):
        labels, texts = (
            (given["label"], given["text"])
            if {*given} == {"label", "text"}
            else (list(given), [*given.values()])
        )
        given = texts if isinstance(labels, list) and [*LETTERS[: len(labels)]] == labels else None
    if not isinstance(given, list | tuple) or not 1 < len(given) <= len(LETTERS):
        raise DataError(_unreadable(example, column))
    if not all(isinstance(option, str) and plain(option) for option in given):
        raise DataError(_unreadable(example, column))
    return tuple(given)


def _gold(answer: str, options: tuple[str, ...], example: Example | None) -> str:
    """The letter of the answer."""
    named = answer.strip().strip("().:").upper()
    by_text = [LETTERS[n] for n, option in enumerate(options) if plain(option) == plain(answer)]
    letters = LETTERS[: len(options) or len(LETTERS)]
    if len(named) == 1 and named in letters and (not by_text or named in by_text):
        return named
    if by_text and not (len(named) == 1 and named in letters):
        return by_text[0]
    whose = f" of {example.id}" if example else ""
    expected = f"a letter from A to {letters[-1]}" + (", or the text of an option" if options else "")
    raise DataError(f"choice: expected the answer{whose} to be {expected}; found {answer[:200]!r}")


def _unreadable(example: Example | None, column: str) -> str:
    assert example is not None
    return (
        f"choice: expected 2 to {len(LETTERS)} texts in the field {column!r} of {example.id}, as a list, as "
        "{label: [A, B, ...], text: [...]} or as {A: ..., B: ...}; "
        f"found {example.columns[column]!r:.200}"
    )
