"""When two questions are the same question, and on which side of the split one lies."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

from whet.types import Example


def normalise_question(text: str) -> str:
    """The text in compatible Unicode form and lower case, with single spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def overlap(train: Iterable[Example], test: Iterable[Example]) -> list[Example]:
    """The test examples whose question is also a training question."""
    seen = {question_of(example) for example in train}
    return [example for example in test if question_of(example) in seen]


def split_position(question: str) -> float:
    """A number in [0, 1) that depends on the question alone; below the test fraction it is for testing."""
    digest = hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest, "little") * 2.0**-48


def question_of(example: Example) -> str:
    """The normalised question: the column `question` where there is one, so that no format hides it, or the prompt."""
    question = example.columns.get("question")
    return normalise_question(question if isinstance(question, str) else example.prompt)
