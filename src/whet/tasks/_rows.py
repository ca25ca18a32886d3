"""A row of data: its fields by name, and where it stands, so that every message can say so."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from whet.errors import DataError

_LIKELY = {
    "prompt": ("question", "problem", "instruction", "input", "query", "conversations"),
    "answer": ("solution", "ground_truth", "target", "label", "output"),
    "demonstration": ("completion", "response", "output", "solution", "chosen"),
}
"""What other data sets call the field of a setting."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file or of a data set."""

    fields: Mapping[str, Any]
    where: str
    """File and line, for messages."""

    def has(self, field: str) -> bool:
        """Whether there is such a field."""
        return field in self.fields or self._inner(field) is not None

    def value(self, field: str, setting: str = "") -> Any:
        """A field as it is, None where it is null or not a number. `reward_model.ground_truth` reaches into an object.

        `setting` is what names the field. Raises `DataError` with the fields that there are when it is missing.
        """
        if field in self.fields:
            value = self.fields[field]
        elif (inner := self._inner(field)) is not None:
            value = inner[0]
        else:
            raise DataError(
                f"{self.where} has no field {field!r}; it has: {', '.join(self.fields) or 'none'}."
                f"{self._hint(field, setting)}"
            )
        return None if isinstance(value, float) and math.isnan(value) else value

    def text(self, field: str, setting: str = "") -> str:
        """A field as text; a number or bool is written as JSON writes it. Raises `DataError` for anything else."""
        value = self.value(field, setting)
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            return json.dumps(value)
        raise DataError(f"{self.where}: expected text in {field!r}, found {shown(value)}")

    def _inner(self, field: str) -> tuple[Any] | None:
        """What a path of names leads to, in a tuple; None when it leads nowhere."""
        value: Any = self.fields
        for name in field.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return None
            value = value[name]
        return (value,)

    def _hint(self, field: str, setting: str) -> str:
        key = setting.rpartition(".")[2]
        close = difflib.get_close_matches(field, self.fields, 1)
        close = close or [name for name in _LIKELY.get(key, ()) if name in self.fields][:1]
        if not setting:
            return f" Did you mean {close[0]}?" if close else ""
        return f" Did you mean {setting}={close[0]}?" if close else f" Name the field in {setting}"


def alike(rows: Iterable[Mapping[str, Any]], where: str) -> list[Row]:
    """Rows that are counted from 1."""
    return [Row(fields=fields, where=f"{where} {n}") for n, fields in enumerate(rows, 1)]


def shown(value: object) -> str:
    """A value as JSON writes it, cut when it is long."""
    text = "null" if value is None else json.dumps(value, default=repr, ensure_ascii=False)
    return text[:100]
