"""Cuts examples in two by a hash of the question, so that a question is on the same side in every file and order."""

from __future__ import annotations

from collections.abc import Sequence

from whet.interfaces import Split
from whet.text.questions import question_of, split_position
from whet.types import Example


def split_by_question(examples: Sequence[Example], test_frac: float) -> dict[Split, tuple[Example, ...]]:
    """Both sides in their order."""
    is_test = [split_position(question_of(e)) < test_frac for e in examples]
    return {
        "train": tuple(e for e, test in zip(examples, is_test, strict=True) if not test),
        "test": tuple(e for e, test in zip(examples, is_test, strict=True) if test),
    }
