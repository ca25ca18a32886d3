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
_THOUGHT = "<think>\nIs it?\n</think>\n\n"
"""Before an answer of a model that thinks, in the form that Qwen3 and its like are trained to write."""


class PromptEncoder:
    """Encodes prompts: plain text, or a conversation written by a chat template. Ids are never encoded again."""

    def __init__(self, tokenizer: Tokenizer, config: PromptConfig) -> None:
        """Raises `ConfigError` when the config asks for what the tokenizer or its template cannot write."""
        self._tokenizer = tokenizer
        self._config = config
        self._template = tokenizer.chat_template if config.template is None else config.template
        self._checked_roles: set[str] = set()
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
        whole = self._opened(messages)
        rendered = self._render(whole)
        ids = tuple(self._tokenizer.encode(rendered))
        _check_nothing_lost(whole, rendered)
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

    @cached_property
    def _end(self) -> tuple[int, ...]:
        """Of `closing` what comes up to the token that ends completions; nothing where none of its tokens does."""
        ends = [n for n, i in enumerate(self.closing, 1) if i in self._tokenizer.stop_ids]
        return self.closing[: ends[0]] if ends else ()

    @property
    def end_id(self) -> int:
        """The token that ends a demonstration: the template's own where it ends completions too, or end-of-text."""
        ends = (i for i in self.closing if i in self._tokenizer.stop_ids)
        return next(ends, self._tokenizer.eos_id)

    def observation(self, role: str, text: str, answer_ids: Sequence[int]) -> tuple[int, ...]:
        """Token ids between an answer and the next one, when a message of that role is written in between.

        In a conversation: what the template ends the answer with, the message, and what opens the next answer. The end
        is left out where `answer_ids`, the answer's own, has it already. In plain text: the text as it is.

        Raises `ConfigError` for a template that writes earlier turns otherwise than token by token (see
        `check_turns`), and `DataError` for a text that does not survive the way to ids and back.
        """
        if not self.is_chat:
            return tuple(self._tokenizer.encode(text))
        self.check_turns(role)
        return self._between(role, text, answer_ids)

    def check_turns(self, role: str) -> None:
        """Raises `ConfigError`, with the difference, unless a conversation that grows keeps the tokens it had.

        Some templates do not: they drop what earlier answers thought, or write an empty thought before the newest
        answer only. What is trained on would then be nothing that the template ever writes. Plain text always does.
        """
        if not self.is_chat or role in self._checked_roles:
            return
        for answer in (_PROBE[1], _THOUGHT + _PROBE[1]):
            self._check_grows(role, answer)
        self._checked_roles.add(role)

    def _check_grows(self, role: str, answer: str) -> None:
        messages = [_message("user", _PROBE[0])]
        ids = self.chat(messages)
        if _PROBE[2] not in self._written_between(role, _PROBE[2]):
            raise ConfigError(
                f"the chat template loses what a {role} message says: name another in prompt.template, another "
                "task.observation_role, or set prompt.chat=false"
            )
        for _ in range(2):
            own = (*self._tokenizer.encode(answer), *self._end[-1:])
            ids += (*own, *self._between(role, _PROBE[2], own))
            messages += [_message("assistant", answer), _message(role, _PROBE[2])]
            whole = tuple(self._tokenizer.encode(self._render(self._opened(messages))))
            if ids != whole:
                kept, written = self._difference(ids, whole)
                raise ConfigError(
                    f"the chat template writes earlier turns otherwise than they were sampled: where the tokens of a "
                    f"conversation with a {role} message so far say {kept!r}, it writes {written!r}. Name a template "
                    "in prompt.template that only ever adds to what it wrote, another task.observation_role, or set "
                    "prompt.chat=false"
                )

    def _difference(self, ids: Sequence[int], others: Sequence[int]) -> tuple[str, str]:
        """What the two spell from a few tokens before their first difference on; the ids where that is the same."""
        pairs = enumerate(zip(ids, others, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(ids), len(others)))
        cut = slice(max(0, at - 4), at + 12)
        one, other = self.spell(ids[cut]), self.spell(others[cut])
        return (str(ids[cut]), str(others[cut])) if one == other else (one, other)

    def _between(self, role: str, text: str, answer_ids: Sequence[int]) -> tuple[int, ...]:
        rendered = self._written_between(role, text)
        _check_nothing_lost([_message(role, text)], rendered)
        ids = tuple(self._tokenizer.encode(rendered))
        _check_round_trip(rendered, self._tokenizer.spell(ids))
        end = self._end
        has_ended = bool(end) and tuple(answer_ids[-1:]) == end[-1:] and ids[: len(end)] == end
        return ids[len(end) :] if has_ended else ids

    def _written_between(self, role: str, text: str) -> str:
        messages = [_message("user", _PROBE[0]), _message("assistant", _PROBE[1]), _message(role, text)]
        return self._render(self._opened(messages)).partition(_PROBE[1])[2]

    def _opened(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The messages after the config's system message, where they bring none of their own."""
        opened = any(m["role"] in ("system", "developer") for m in messages)
        system = [] if opened or self._config.system is None else [_message("system", self._config.system)]
        return [*system, *messages]

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
