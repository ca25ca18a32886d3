"""From the events of a job to the chunks of a streamed answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from whet.serving.answers import Answer
from whet.serving.text_stream import TextStream
from whet.serving.worker import Done, Token


class Chunks:
    """The chunks of one answer, in the order in which its tokens come."""

    def __init__(self, answer: Answer) -> None:
        question, tokenizer = answer.question, answer.served.policy.tokenizer
        self._answer = answer
        self._streams = [TextStream(tokenizer, question.params.stop) for _ in range(question.num_choices)]
        self._completion_tokens = 0
        self.left = question.num_choices
        """Choices that have not ended."""

    def take(self, events: Sequence[Token | Done]) -> Iterator[dict[str, Any]]:
        """The chunks that events give; a choice may give none while its text is not certain."""
        new: dict[int, list[int]] = {}
        for event in events:
            if isinstance(event, Token):
                new.setdefault(event.choice, []).append(event.token_id)
        for choice, token_ids in new.items():
            yield from self._said(choice, self._streams[choice].piece(token_ids))
        for event in events:
            if isinstance(event, Done):
                yield from self._ended(event)

    def _ended(self, done: Done) -> Iterator[dict[str, Any]]:
        """What is left of the text, why it ends, and after the last choice what it took."""
        yield from self._said(done.choice, self._streams[done.choice].rest(done.completion.text))
        yield self._answer.chunk(done.choice, "", done.completion.finish_reason)
        self._completion_tokens += len(done.completion.token_ids)
        self.left -= 1
        if not self.left and self._answer.question.include_usage:
            yield self._answer.usage_chunk(self._completion_tokens)

    def _said(self, choice: int, text: str) -> Iterator[dict[str, Any]]:
        if text:
            yield self._answer.chunk(choice, text)
