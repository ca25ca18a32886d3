"""The model that is served: a policy with its engine and prompts, under a name."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from whet.config import SamplingConfig

if TYPE_CHECKING:
    from whet.interfaces import Engine, Policy
    from whet.text.prompts import PromptEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What answers, and what a request gets that does not say otherwise."""

    name: str
    policy: Policy
    engine: Engine
    encoder: PromptEncoder
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Temperature, stop strings and completion length where a request leaves them out: those of the training."""
    example: str = "Hello"
    """A prompt worth trying."""
    fingerprint: str = ""
    """Changes with the weights."""
    created: int = field(default_factory=lambda: int(time.time()))
