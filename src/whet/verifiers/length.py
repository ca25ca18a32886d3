"""A penalty on long completions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from whet.interfaces import Verifier
from whet.types import Example, Score


class Length(Verifier):
    """0 up to the target length, then `floor * ((length - target) / (max - target))^2`, and `floor` from max on.

    It sees the text only, so lengths are in characters or words; a penalty in tokens belongs to the algorithm (see the
    overlong shaping of `dapo`).
    """

    unit: Literal["characters", "words"] = "characters"
    """Words are what white space separates."""
    target_length: int = Field(default=200, ge=0)
    max_length: int = Field(default=400, ge=1)
    floor: float = Field(default=-0.5, le=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _order(self) -> Length:
        if self.max_length <= self.target_length:
            raise ValueError("expected max_length above target_length")
        return self

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The penalty, between `floor` and 0; detail `too_long` above the target."""
        length = len(text) if self.unit == "characters" else len(text.split())
        over = max(0, length - self.target_length) / (self.max_length - self.target_length)
        return Score(value=self.floor * min(1.0, over) ** 2 + 0.0, detail="too_long" if over else "")
