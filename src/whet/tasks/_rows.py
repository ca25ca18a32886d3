"""Reads JSONL files, and says which line is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.errors import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a file."""

    fields: Mapping[str, Any]
    where: str
    """File and line, for messages."""

    def text(self, field: str) -> str:
        """A field as text; numbers are written out. Raises `DataError` when it is missing or is something else."""
        if field not in self.fields:
            raise DataError(
                f"{self.where} has no field {field!r}; it has: {', '.join(self.fields) or 'none'}"
            )
        value = self.fields[field]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise DataError(f"{self.where}: expected text in {field!r}, found {json.dumps(value)[:100]}")
        return value


def read_rows(path: Path) -> list[Row]:
    """The rows of a file with one JSON object per line; blank lines are left out.

    Raises `DataError` for a missing or empty file and for the first line that is not a JSON object.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file (looked in {Path.cwd()})")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start})") from None
    rows = [_row(line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise DataError(f"{path} is empty; expected one JSON object per line")
    return rows


def _row(line: str, where: str) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:  # not only JSONDecodeError: an integer of 5,000 digits too
        raise DataError(f"{where}: expected a JSON object, found {line[:80]!r} ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a JSON object, found {line[:80]!r}")
    return Row(fields=value, where=where)
