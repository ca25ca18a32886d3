"""Held-out is held out: no question may be both trained on and evaluated."""

from __future__ import annotations

from collections.abc import Sequence

from whet.errors import DataError
from whet.text.questions import overlap
from whet.types import Example


def check_overlap(train: Sequence[Example], held_out: Sequence[Example], *, allow: bool = False) -> int:
    """How many evaluation examples ask a training question, after normalisation.

    Raises `DataError` naming some of them unless `allow` is true.
    """
    shared = overlap(train, held_out)
    if shared and not allow:
        some = "; ".join(f"{example.id}: {_short(example.prompt)}" for example in shared[:3])
        raise DataError(
            f"{len(shared)} of {len(held_out)} evaluation questions are also training questions ({some}). "
            "Take them out of the training data, or set eval.allow_overlap=true: every result then says so."
        )
    return len(shared)


def _short(prompt: str) -> str:
    return repr(prompt if len(prompt) <= 80 else prompt[:77] + "...")
