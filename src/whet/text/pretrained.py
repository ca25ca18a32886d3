"""A tokenizer that comes with a pretrained model, behind whet's own protocol."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from whet.errors import ConfigError
from whet.text.tokenizers import unicode_text

_WHERE_FROM = ("is_local", "local_files_only")
"""What transformers notes of how a tokenizer was loaded; equal tokenizers must write equal bytes."""


class PretrainedTokenizer:
    """Wraps a fast tokenizer of transformers. Special tokens that a text spells are tokens, as everywhere there."""

    def __init__(self, tokenizer: Any, stop_ids: Iterable[int] = ()) -> None:
        """stop_ids: those of the generation config. Raises `ConfigError` when nothing ends a text."""
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                "the tokenizer names no token that ends a text, so no completion would end: set eos_token in its "
                "tokenizer_config.json"
            )
        self._tokenizer = tokenizer
        self.vocab_size = len(tokenizer)
        self.eos_id = int(tokenizer.eos_token_id)
        self.stop_ids = frozenset({self.eos_id, *map(int, stop_ids)})
        self.bos_ids = _opening(tokenizer)
        self.chat_template = _template(tokenizer.chat_template)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, with nothing added; raises `DataError` for half of a surrogate pair."""
        ids: list[int] = self._tokenizer.encode(unicode_text(text), add_special_tokens=False, verbose=False)
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        return self._text(token_ids, skip_special_tokens=True)

    def spell(self, token_ids: Sequence[int]) -> str:
        """The text of ids, special tokens visible."""
        return self._text(token_ids, skip_special_tokens=False)

    def render(
        self, messages: Sequence[Mapping[str, str]], template: str, variables: Mapping[str, Any]
    ) -> str:
        """A conversation as the chat template writes it, up to where the assistant answers.

        Raises `ConfigError` with the template's own words when it fails.
        """
        try:
            text: str = self._tokenizer.apply_chat_template(
                [dict(m) for m in messages],
                chat_template=template,
                tokenize=False,
                add_generation_prompt=True,
                **variables,
            )
        except Exception as error:  # a template is a program and may raise anything
            roles = ", ".join(str(m.get("role")) for m in messages)
            raise ConfigError(
                f"the chat template fails on a conversation of {roles}: {type(error).__name__}: {error}. Change the "
                "conversation (prompt.system adds a system message), mend prompt.chat_template_kwargs, or name another "
                "template in prompt.template"
            ) from error
        return text

    def save(self, directory: Path) -> None:
        """Writes the files that transformers loads, chat template included; equal tokenizers write equal bytes."""
        self._tokenizer.save_pretrained(directory)
        file = directory / "tokenizer_config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        kept = {name: value for name, value in config.items() if name not in _WHERE_FROM}
        text = json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False)
        file.write_text(text + "\n", encoding="utf-8")

    def _text(self, token_ids: Sequence[int], skip_special_tokens: bool) -> str:
        text: str = self._tokenizer.decode(
            list(token_ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )
        return text


def _opening(tokenizer: Any) -> tuple[int, ...]:
    """The special tokens that the tokenizer itself puts before a text, such as Llama's beginning of text."""
    found = tokenizer("a", return_special_tokens_mask=True)
    pairs = zip(found["input_ids"], found["special_tokens_mask"], strict=True)
    return tuple(i for i, _ in takewhile(lambda pair: pair[1], pairs))


def _template(found: str | Mapping[str, str] | None) -> str | None:
    """Of several templates, by name, the default one."""
    return found.get("default") if isinstance(found, Mapping) else found
