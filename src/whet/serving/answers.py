"""The JSON of answers, whole and in chunks, as OpenAI's API spells them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from whet.interfaces import Tokenizer
from whet.serving.questions import Question
from whet.serving.served import Served
from whet.serving.text_stream import TextStream
from whet.types import Completion


class Answer:
    """One answer of `/v1/completions`; `ChatAnswer` is that of `/v1/chat/completions`."""

    prefix = "cmpl"
    kind = "text_completion"
    chunk_kind = "text_completion"

    def __init__(self, question: Question, served: Served) -> None:
        self.question = question
        self.served = served
        self._head = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": served.name,
            "system_fingerprint": served.fingerprint,
        }

    def whole(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """The answer at once; completions in the order of their choices."""
        choices = [
            {**self.content(i, c), "index": i, "finish_reason": c.finish_reason}
            for i, c in enumerate(completions)
        ]
        tokens = sum(len(c.token_ids) for c in completions)
        return {**self._head, "object": self.kind, "choices": choices, "usage": self._usage(tokens)}

    def chunk(self, choice: int, text: str, finish_reason: str | None = None) -> dict[str, Any]:
        """A part of one choice."""
        content = {**self.delta(text), "index": choice, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk([content], {"usage": None} if self.question.include_usage else {})

    def usage_chunk(self, completion_tokens: int) -> dict[str, Any]:
        """The last chunk, where the question asks for it."""
        return self._chunk([], {"usage": self._usage(completion_tokens)})

    def openings(self) -> Iterator[dict[str, Any]]:
        """Chunks before the first token."""
        yield from ()

    def content(self, choice: int, completion: Completion) -> dict[str, Any]:
        """Text and log-probabilities of one choice."""
        logprobs = _listed(self.served.policy.tokenizer, completion) if self.question.logprobs else None
        return {"text": completion.text, "logprobs": logprobs}

    def delta(self, text: str) -> dict[str, Any]:
        """New text of a chunk."""
        return {"text": text}

    def _chunk(self, choices: list[dict[str, Any]], more: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._head, "object": self.chunk_kind, "choices": choices, **more}

    def _usage(self, completion_tokens: int) -> dict[str, int]:
        prompt = self.question.prompt_tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt + completion_tokens,
        }


class ChatAnswer(Answer):
    """One answer of `/v1/chat/completions`."""

    prefix = "chatcmpl"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def openings(self) -> Iterator[dict[str, Any]]:
        """Who speaks, once per choice."""
        for choice in range(self.question.num_choices):
            chunk = self.chunk(choice, "")
            chunk["choices"][0]["delta"] = {"role": "assistant", "content": ""}
            yield chunk

    def content(self, choice: int, completion: Completion) -> dict[str, Any]:
        """Message and log-probabilities of one choice."""
        tokenizer = self.served.policy.tokenizer
        logprobs = {"content": _entries(tokenizer, completion), "refusal": None}
        message = {"role": "assistant", "content": completion.text, "refusal": None}
        return {"message": message, "logprobs": logprobs if self.question.logprobs else None}

    def delta(self, text: str) -> dict[str, Any]:
        """New text of a chunk; nothing in the last one."""
        return {"delta": {"content": text} if text else {}}


def _entries(tokenizer: Tokenizer, completion: Completion) -> list[dict[str, Any]]:
    """One entry per token; a token that is a part of a character has no bytes to show."""
    spelled = [tokenizer.spell([i]) for i in completion.token_ids]
    return [
        {
            "token": token,
            "logprob": logprob,
            "bytes": None if "�" in token else list(token.encode()),
            "top_logprobs": [],
        }
        for token, logprob in zip(spelled, completion.logprobs, strict=True)
    ]


def _listed(tokenizer: Tokenizer, completion: Completion) -> dict[str, Any]:
    """Parallel lists, with the place of each token in the text."""
    stream, at, offsets = TextStream(tokenizer, ()), 0, []
    for token_id in completion.token_ids:
        offsets.append(at)
        at += len(stream.piece([token_id]))
    return {
        "tokens": [tokenizer.spell([i]) for i in completion.token_ids],
        "token_logprobs": list(completion.logprobs),
        "top_logprobs": None,
        "text_offset": offsets,
    }
