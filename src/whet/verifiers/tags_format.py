"""Scores the form of a completion, whatever it says."""

from __future__ import annotations

from pydantic import Field

from whet.interfaces import Verifier
from whet.types import Example, Score


class TagsFormat(Verifier):
    """Full value for `<think>...</think><answer>...</answer>` and nothing else.

    Each tag stands exactly once and in order, its content is not blank, and outside there is only white space.
    """

    tags: tuple[str, ...] = Field(default=("think", "answer"), min_length=1)
    first_tag_open: bool = False
    """The prompt ends in the first opening tag, so the completion starts inside it."""
    right: float = 1.0
    wrong: float = 0.0

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The value `right` or `wrong`; details `missing_tag`, `repeated_tag` and `misplaced_text`."""
        detail = self._fault(f"<{self.tags[0]}>{text}" if self.first_tag_open else text)
        return Score(value=self.wrong if detail else self.right, detail=detail)

    def _fault(self, text: str) -> str:
        marks = [mark for tag in self.tags for mark in (f"<{tag}>", f"</{tag}>")]
        counts = [text.count(mark) for mark in marks]
        if 0 in counts:
            return "missing_tag"
        if max(counts) > 1:
            return "repeated_tag"
        pieces, rest = [], text
        for mark in marks:
            piece, found, rest = rest.partition(mark)
            pieces.append(piece if found else "out of order")
        outside, inside = [*pieces[::2], rest], pieces[1::2]
        return "misplaced_text" if any(map(str.strip, outside)) or not all(map(str.strip, inside)) else ""
