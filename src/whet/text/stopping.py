"""When a completion's tokens end it, and the text that is left: tokens are never cut, only their view."""

from collections.abc import Sequence

from whet.interfaces import Tokenizer

_TAIL_TOKENS = 8
"""Looked at beside the bytes of the longest stop string, for tokens that decode to nothing alone."""


class Ending:
    """End-of-text, the stop strings of one generation, and the text view of its completions."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._tail = max((len(s.encode()) for s in stop), default=0) + _TAIL_TOKENS
        self.stop_ids = tokenizer.stop_ids

    @property
    def needs_text(self) -> bool:
        """Whether there is a stop string to look for, beside the end-of-text token."""
        return bool(self._stop)

    def reached(self, token_ids: Sequence[int]) -> bool:
        """Whether the newest token is end-of-text or completes a stop string."""
        if token_ids[-1] in self.stop_ids:
            return True
        return self.needs_text and self._completes_a_stop_string(token_ids)

    def _completes_a_stop_string(self, token_ids: Sequence[int]) -> bool:
        text = self._tokenizer.decode(token_ids[-self._tail :])
        return any(s in text for s in self._stop)

    def text(self, token_ids: Sequence[int]) -> str:
        """The completion's text, without end-of-text and cut before the first stop string."""
        text = self._tokenizer.decode(token_ids)
        cuts = [at for s in self._stop if (at := text.find(s)) >= 0]
        return text[: min(cuts)] if cuts else text
