"""Tokenizers for policies trained from scratch: characters, or a trained byte-level BPE. Both round-trip their text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EOS = "<|endoftext|>"
_FILE = "tokenizer.json"


class TextTokenizer:
    """Wraps a `tokenizers.Tokenizer`; id 0 is the end-of-text token."""

    eos_id = 0
    stop_ids = frozenset({0})
    bos_ids: tuple[int, ...] = ()
    chat_template: str | None = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        tokenizer.encode_special_tokens = True  # a text that names the end-of-text token does not end
        self.vocab_size: int = tokenizer.get_vocab_size()
        # A vocabulary of whole words (here: characters) has no way to spell what it lacks; bytes spell everything.
        is_closed = type(tokenizer.model).__name__ == "WordLevel"
        self._characters = set(tokenizer.get_vocab()) if is_closed else None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens; raises `DataError` for a character that has no token."""
        if self._characters is not None and (unknown := sorted(set(text) - self._characters)):
            raise DataError(
                f"no token for {''.join(unknown)!r} in {text[:80]!r}: the tokenizer knows only the characters of the "
                "training data; use policy.tokenizer=bpe, or name them in policy.alphabet"
            )
        ids: list[int] = self._tokenizer.encode(unicode_text(text), add_special_tokens=False).ids
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of ids, end-of-text left out."""
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return text

    def spell(self, token_ids: Sequence[int]) -> str:
        """The text of ids, end-of-text visible."""
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=False)
        return text

    def render(
        self, messages: Sequence[Mapping[str, str]], template: str, variables: Mapping[str, Any]
    ) -> str:
        """Raises `ConfigError`: the vocabulary has no tokens for roles."""
        raise ConfigError(
            "a from_scratch policy has no form for conversations: its tokenizer knows no roles; set prompt.chat=false, "
            "or give the data plain prompts"
        )

    def save(self, directory: Path) -> None:
        """Writes tokenizer.json, which transformers' `PreTrainedTokenizerFast` reads too."""
        (directory / _FILE).write_text(self._tokenizer.to_str(pretty=True), encoding="utf-8")


def character_tokenizer(texts: Iterable[str], alphabet: str = "") -> TextTokenizer:
    """One token per character found in the texts or named in the alphabet."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    characters = sorted(set(alphabet).union(*map(set, map(unicode_text, texts))))
    vocabulary = {EOS: 0, **{c: i for i, c in enumerate(characters, start=1)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([EOS])
    return TextTokenizer(tokenizer)


def bpe_tokenizer(texts: Iterable[str], vocab_size: int) -> TextTokenizer:
    """A byte-level BPE (Sennrich et al. 1508.07909, on bytes as in GPT-2) trained on the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    # Digits stay single tokens: arithmetic on merged digit chunks is much harder to learn.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(unicode_text, texts), trainer)
    return TextTokenizer(tokenizer)


def load_tokenizer(directory: Path) -> TextTokenizer:
    """The tokenizer that `save` wrote."""
    from tokenizers import Tokenizer

    return TextTokenizer(Tokenizer.from_file(str(directory / _FILE)))


def unicode_text(text: str) -> str:
    """The text itself; raises `DataError` for half of a surrogate pair, which JSON escapes can smuggle in."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{text[error.start]!r} at character {error.start} of {text[:80]!r} is half of a surrogate pair and no "
            "character: mend the data where it was cut"
        ) from error
    return text
