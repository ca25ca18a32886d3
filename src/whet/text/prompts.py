"""The one way from a prompt to token ids, for training, evaluation, sampling and serving."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from whet.config import PromptConfig
from whet.errors import ConfigError, DataError
from whet.interfaces import Tokenizer
from whet.types import Example

ROLES = ("system", "developer", "user", "assistant", "tool")
_SHOWN = 40
"""Characters shown on either side of a difference."""
_PROBE = ("Is it so?", "So it is.", "Why?")
"""A user asks, the assistant answers, the user asks again: what follows the answer ends it."""


class PromptEncoder:
    """Encodes prompts: plain text, or a conversation written by a chat template. Ids are never encoded again."""

    def __init__(self, tokenizer: Tokenizer, config: PromptConfig) -> None:
        """Raises `ConfigError` when the config asks for what the tokenizer or its template cannot write."""
        self._tokenizer = tokenizer
        self._config = config
        self._template = tokenizer.chat_template if config.template is None else config.template
        self.is_chat = self._template is not None if config.chat == "auto" else config.chat
        if self.is_chat and self._template is None:
            raise ConfigError(
                "prompt.chat is true, and the tokenizer has no chat template: set prompt.chat=false, or name a "
                "template in prompt.template"
            )
        if config.system is not None and not self.is_chat:
            raise ConfigError(
                "prompt.system needs a conversation, and the prompts are plain text: set prompt.chat=true, or write "
                "the instruction into the prompt"
            )
        if self.is_chat:
            _check_variables(config.chat_template_kwargs, self._template or "")

    def __call__(self, example: Example) -> tuple[int, ...]:
        """Token ids of the example's prompt."""
        if example.messages and not self.is_chat:
            raise ConfigError(
                f"the prompt of {example.id} is a conversation, and prompts are written as plain text: the tokenizer "
                "needs a chat template (prompt.chat=true, or prompt.template)"
            )
        try:
            return self.chat(example.messages) if example.messages else self.question(example.prompt)
        except DataError as error:
            raise DataError(f"the prompt of {example.id}: {error}") from error

    def question(self, text: str) -> tuple[int, ...]:
        """Token ids of a text that a person asks: the user's message where prompts are conversations."""
        return self.chat([{"role": "user", "content": text}]) if self.is_chat else self.plain(text)

    def plain(self, text: str) -> tuple[int, ...]:
        """Token ids of a text as it is, after what the model expects before any text, unless the text spells that."""
        ids, opening = tuple(self._tokenizer.encode(text)), self._tokenizer.bos_ids
        return ids if ids[: len(opening)] == opening else (*opening, *ids)

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
        """Token ids of a conversation, up to where the assistant answers.

        Raises `DataError` for what is no conversation, `ConfigError` when the template fails or loses a message, and
        `DataError` when what it writes does not survive the way to ids and back.
        """
        _check_messages(messages)
        opened = any(m["role"] in ("system", "developer") for m in messages)
        system = [] if opened or self._config.system is None else [_message("system", self._config.system)]
        rendered = self._render([*system, *messages])
        ids = tuple(self._tokenizer.encode(rendered))
        _check_nothing_lost([*system, *messages], rendered)
        _check_round_trip(rendered, self._tokenizer.spell(ids))
        return ids

    def spell(self, token_ids: Sequence[int]) -> str:
        """The text of ids, special tokens visible."""
        return self._tokenizer.spell(token_ids)

    @cached_property
    def closing(self) -> tuple[int, ...]:
        """Token ids that the template writes after an answer in the middle of a conversation; plain text has none."""
        if not self.is_chat:
            return ()
        roles = ("user", "assistant", "user")
        rendered = self._render([_message(r, text) for r, text in zip(roles, _PROBE, strict=True)])
        after = rendered.partition(_PROBE[1])[2]
        return tuple(self._tokenizer.encode(after.partition(_PROBE[2])[0]))

    @property
    def end_id(self) -> int:
        """The token that ends a demonstration: the template's own where it ends completions too, or end-of-text."""
        ends = (i for i in self.closing if i in self._tokenizer.stop_ids)
        return next(ends, self._tokenizer.eos_id)

    def _render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        if self._template is None:
            raise ConfigError("the tokenizer has no chat template: send plain text, or name prompt.template")
        return self._tokenizer.render(messages, self._template, self._config.chat_template_kwargs)


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _check_variables(variables: Mapping[str, Any], template: str) -> None:
    """Jinja says nothing of a variable that no template reads, so a slip of the pen would change nothing."""
    words = set(re.findall(r"\w+", template))
    for name in sorted(variables.keys() - words):
        close = difflib.get_close_matches(name, words, 1)
        hint = f" Did you mean {close[0]}?" if close else " Remove it, or name another template."
        raise ConfigError(f"prompt.chat_template_kwargs.{name}: the chat template reads no {name}.{hint}")


def _check_messages(messages: Sequence[Mapping[str, Any]]) -> None:
    if not messages:
        raise DataError("the conversation is empty: expected one message or more")
    for number, message in enumerate(messages, 1):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise DataError(f"the role of message {number} is {role!r}: expected one of {', '.join(ROLES)}")
        if not isinstance(content, str):
            parts = "; join the texts of its parts into one" if isinstance(content, list) else ""
            raise DataError(
                f"the content of message {number} ({role}) is {str(content)[:_SHOWN]}: expected a text{parts}"
            )
    if messages[-1]["role"] == "assistant":
        raise DataError(
            "the conversation ends with the assistant's message, so nothing is left to answer: leave that message out "
            "(an answer to imitate is the example's demonstration)"
        )


def _check_nothing_lost(messages: Sequence[Mapping[str, Any]], rendered: str) -> None:
    """Templates may trim messages, drop what earlier answers thought, and write what tools say in a form of theirs."""
    written = _dense(rendered)
    for message in messages:
        said = message["content"].rpartition("</think>")[2]
        if message["role"] != "tool" and _dense(said) not in written:
            raise ConfigError(
                f"the chat template loses the {message['role']} message {said.strip()[:_SHOWN]!r}: it writes "
                f"{rendered[:200]!r}. Name another in prompt.template, or set prompt.chat=false"
            )


def _check_round_trip(rendered: str, spelled: str) -> None:
    """Blanks and the forms of a character may differ: tokenizers write blanks beside special tokens, and normalise."""
    written, read = _dense(rendered), _dense(spelled)
    if written != read:
        pairs = enumerate(zip(written, read, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(written), len(read)))
        cut = slice(max(0, at - _SHOWN), at + _SHOWN)
        raise DataError(
            "what the chat template writes does not survive the tokenizer: it writes (blanks left out) "
            f"{written[cut]!r}, and its tokens spell {read[cut]!r}. Mend the text there, name another template in "
            "prompt.template, or set prompt.chat=false"
        )


def _dense(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())
