"""Several verifiers as one."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated

from pydantic import Field, SerializeAsAny

from whet import registry
from whet.interfaces import Verifier
from whet.registry import Settings
from whet.types import Example, Score
from whet.verifiers._isolation import judged


class Part(Settings):
    """One verifier of a combination."""

    verifier: Annotated[SerializeAsAny[Verifier], registry.field("verifiers")]
    weight: float = Field(default=1.0, allow_inf_nan=False)
    """0 logs the part without rewarding it."""


class Combine(Verifier):
    """The weighted sum of named parts: `value = sum(weight * part)`.

    `Score.parts` holds every part before its weight. A part that fails on our side fails the whole with its status:
    a missing share is not a zero. A part that does not apply (status `skipped`) is left out of the sum; when none
    applies, the whole is skipped.
    """

    parts: dict[str, Part] = Field(min_length=1)
    """For instance `{answer: {verifier: numeric}, form: {verifier: tags_format, weight: 0.2}}`."""

    @property
    def waits(self) -> bool:
        """Whether a part does."""
        return any(part.verifier.waits for part in self.parts.values())

    def check(self, example: Example) -> None:
        """Raises `DataError` when the example lacks what a part needs."""
        for part in self.parts.values():
            part.verifier.check(example)

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The sum, with the details of the parts joined as `answer:wrong form:missing_tag`.

        Each part scores where its own `isolation` says.
        """
        scores = {name: judged(part.verifier, text, answer, example) for name, part in self.parts.items()}
        detail = " ".join(f"{name}:{score.detail}" for name, score in scores.items() if score.detail)
        for score in scores.values():
            if score.is_failure:
                return dataclasses.replace(score, parts={}, detail=detail)
        values = {name: score.value for name, score in scores.items() if score.ok}
        if not values:
            return Score.skipped(detail)
        total = math.fsum(self.parts[name].weight * value for name, value in values.items())
        return Score(value=total, parts=values, detail=detail)
