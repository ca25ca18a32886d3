"""What one check found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row of `whet check`. FAIL: a run cannot work. WARN: something will be missing or slow."""

    what: str
    status: Status
    found: str
    next_step: str = ""
    """Empty when there is nothing to do."""
