"""The text of a completion while its tokens arrive: what was given is never taken back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from whet.interfaces import Tokenizer
from whet.text.stopping import Ending

_UNFINISHED = "�"
"""What decodes from a part of a character; more tokens may complete it."""


class TextStream:
    """Holds back what later tokens may still change: half a character, or the beginning of a stop string.

    The pieces and the rest, put together, are the text of the completion.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._ending = Ending(tokenizer, stop)
        self._beginnings = {s[:n] for s in stop for n in range(1, len(s))}
        self._ids: list[int] = []
        self._given = ""

    def piece(self, token_ids: Iterable[int]) -> str:
        """The text that became certain with these tokens."""
        self._ids.extend(token_ids)
        text = self._ending.text(self._ids).rstrip(_UNFINISHED)
        return self.rest(text[: len(text) - self._doubtful(text)])

    def rest(self, text: str) -> str:
        """What of this text has not been given yet."""
        # A decoder that changes its mind about earlier text has nothing to give until it agrees again.
        new = text[len(self._given) :] if text.startswith(self._given) else ""
        self._given += new
        return new

    def _doubtful(self, text: str) -> int:
        """Length of the longest ending that may become a stop string."""
        return max((len(b) for b in self._beginnings if text.endswith(b)), default=0)
