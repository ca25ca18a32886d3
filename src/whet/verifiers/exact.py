"""Compares a completion with the answer as text."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from whet.errors import nothing_to_compare
from whet.interfaces import Verifier
from whet.text.tags import marked_answer
from whet.types import Example, Score


class Exact(Verifier):
    """Full value when the two texts are equal once both are normalised (with every setting off: as they are)."""

    needs_answer: ClassVar[bool] = True

    extract: Literal["text", "tagged"] = "text"
    """text: the whole completion. tagged: its marked answer (`<answer>`, else `####`, else `\\boxed{}`)."""
    strip: bool = True
    """Leave out white space at both ends."""
    ignore_case: bool = False
    collapse_whitespace: bool = False
    """Any run of white space counts as one space."""
    right: float = 1.0
    wrong: float = 0.0

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The value `right` or `wrong`; details `no_answer` (nothing there) and `wrong`.

        Raises `DataError` when the example has no answer to compare with.
        """
        if not answer:
            raise nothing_to_compare("exact", example)
        found = text if self.extract == "text" else marked_answer(text)
        if found is not None and self._normalised(found) == self._normalised(answer):
            return Score(value=self.right)
        return Score(value=self.wrong, detail="wrong" if found and found.strip() else "no_answer")

    def _normalised(self, text: str) -> str:
        text = text.strip() if self.strip else text
        text = re.sub(r"\s+", " ", text) if self.collapse_whitespace else text
        return text.casefold() if self.ignore_case else text
