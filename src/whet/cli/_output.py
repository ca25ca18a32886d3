"""How commands print: JSON for programs, aligned columns and short texts for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHORT = 72


def print_json(value: Any) -> None:
    """Prints one JSON value in one line; what is no finite number is null."""
    from whet.tracking.jsonl import encode_line

    print(encode_line(value).decode(), end="")


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Rows as aligned columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(indent + line for line in lines)


def short(text: str) -> str:
    """A text of one line, its middle left out when it is long."""
    half = SHORT // 2 - 2
    return text if len(text) <= SHORT else f"{text[:half]} ... {text[-half:]}"


def duration(seconds: float) -> str:
    """Seconds for people: `2 h 05 min`, `1 min 08 s`, `4.2 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def percent(value: float, ends: Sequence[float]) -> str:
    """A share with its 95% interval: `93.2% [90.6, 95.1]`."""
    return f"{value:.1%} [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
