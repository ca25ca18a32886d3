"""One prompt laid open: the text and the very ids that a policy gets, and what will end its answer."""

from __future__ import annotations

from typing import Any

from whet.interfaces import Tokenizer
from whet.text.prompts import PromptEncoder
from whet.types import Example


def shown_prompt(tokenizer: Tokenizer, encode: PromptEncoder, example: Example) -> dict[str, Any]:
    """JSON-ready facts: `chat`, `text`, `length`, `tokens`, `ends_completion`, `ends_demonstration`, `warnings`.

    Each token is its `id` and its `text`, special tokens visible; a token that is a part of a character alone has the
    text U+FFFD.
    """

    def token(token_id: int) -> dict[str, Any]:
        return {"id": token_id, "text": tokenizer.spell([token_id])}

    ids = encode(example)
    return {
        "chat": encode.is_chat,
        "text": encode.spell(ids),
        "length": len(ids),
        "tokens": [token(i) for i in ids],
        "ends_completion": [token(i) for i in sorted(tokenizer.stop_ids)],
        "ends_demonstration": token(encode.end_id),
        "warnings": _warnings(tokenizer, encode),
    }


def _warnings(tokenizer: Tokenizer, encode: PromptEncoder) -> list[str]:
    """Whether the token that ends an answer in the template ends completions too; a base model's often does not."""
    closing = encode.closing
    if not closing or tokenizer.stop_ids.intersection(closing):
        return []
    return [
        f"the chat template ends an answer with {tokenizer.spell(closing[:1])!r}, and no completion ends there. For a "
        f"model that was never taught to chat set prompt.chat=false; otherwise add {closing[0]} to eos_token_id in "
        "the generation_config.json of the model"
    ]
