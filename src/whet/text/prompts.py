"""The one way from a prompt to token ids, for training, evaluation, sampling and serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from whet.config import PromptConfig
from whet.errors import ConfigError, DataError
from whet.interfaces import Tokenizer
from whet.types import Example

_SHOWN = 40
"""Characters shown on either side of a difference."""


class PromptEncoder:
    """Encodes prompts: plain text, or a conversation written by a chat template. Ids are never encoded again."""

    def __init__(self, tokenizer: Tokenizer, config: PromptConfig) -> None:
        """Raises `ConfigError` when the config asks for a conversation that the tokenizer cannot write."""
        self._tokenizer = tokenizer
        self._config = config
        self._template = _template(config) or tokenizer.chat_template
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

    def __call__(self, example: Example) -> tuple[int, ...]:
        """Token ids of the example's prompt."""
        if self.is_chat:
            return self.chat(example.messages or ({"role": "user", "content": example.prompt},))
        if example.messages:
            raise ConfigError(
                f"the prompt of {example.id} is a conversation, and prompts are written as plain text: the tokenizer "
                "needs a chat template (prompt.chat=true, or prompt.template)"
            )
        return self.plain(example.prompt)

    def plain(self, text: str) -> tuple[int, ...]:
        """Token ids of a text as it is, after what the model expects before any text."""
        return (*self._tokenizer.bos_ids, *self._tokenizer.encode(text))

    def chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Token ids of a conversation, up to where the assistant answers.

        Raises `ConfigError` when the template fails, loses a message, or does not survive the way to ids and back.
        """
        if self._template is None:
            raise ConfigError("the tokenizer has no chat template: send plain text, or name prompt.template")
        opened = [m for m in messages if m["role"] == "system"] or self._config.system is None
        said = messages if opened else [{"role": "system", "content": str(self._config.system)}, *messages]
        rendered = self._tokenizer.render(said, self._template, self._config.chat_template_kwargs)
        ids = tuple(self._tokenizer.encode(rendered))
        _check_round_trip(said, rendered, self._tokenizer.spell(ids))
        return ids

    def spell(self, token_ids: Sequence[int]) -> str:
        """The text of ids, special tokens visible."""
        return self._tokenizer.spell(token_ids)


def _template(config: PromptConfig) -> str | None:
    if config.template is None or not config.template.endswith(".jinja"):
        return config.template
    path = Path(config.template)
    if not path.is_file():
        raise ConfigError(f"prompt.template: {path} is not a file (looked in {Path.cwd()})")
    return path.read_text(encoding="utf-8")


def _check_round_trip(messages: Sequence[Mapping[str, str]], rendered: str, spelled: str) -> None:
    """Blanks may differ: some tokenizers write them beside special tokens, and some templates trim messages."""
    for message in messages:
        if _dense(message["content"]) not in _dense(rendered):
            raise ConfigError(
                f"the chat template loses the {message['role']} message {message['content'][:_SHOWN]!r}: it writes "
                f"{rendered[:200]!r}. Name another in prompt.template, or set prompt.chat=false"
            )
    if _dense(rendered) != _dense(spelled):
        at = next((i for i, (a, b) in enumerate(zip(rendered, spelled, strict=False)) if a != b), 0)
        cut = slice(max(0, at - _SHOWN), at + _SHOWN)
        raise DataError(
            f"what the chat template writes does not survive the tokenizer: at character {at} it writes "
            f"{rendered[cut]!r}, and its tokens spell {spelled[cut]!r}. Name another in prompt.template, or set "
            "prompt.chat=false"
        )


def _dense(text: str) -> str:
    return "".join(text.split())
