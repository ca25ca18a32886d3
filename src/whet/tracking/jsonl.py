"""One JSON object a line, appended: the log that whet itself reads back."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from whet.errors import RunError

if TYPE_CHECKING:
    from whet.tracking.open import RunView

_BLOCK = 1 << 16
_JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False)
_log = logging.getLogger(__name__)


class JsonlLog:
    """An append-only file of whole lines, whose length can be kept in a checkpoint and restored from it.

    A line torn by a crash is cut off when the file is opened. NaN and infinities, which JSON does not have,
    become null.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        os.ftruncate(self._descriptor, _whole_lines(self._descriptor))

    @classmethod
    def open(cls, run: RunView) -> Self:
        """The metrics of a run, one line a step."""
        return cls(run.train_log)

    @property
    def size_bytes(self) -> int:
        """The length of the file."""
        return os.fstat(self._descriptor).st_size

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends the metrics of a step."""
        self.append({"step": step, **metrics})

    def append(self, *records: Mapping[str, Any]) -> None:
        """Appends a line each. On a full disk the file is left as it was, and `RunError` is raised."""
        rest = b"".join(map(encode_line, records))
        before = self.size_bytes
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            os.ftruncate(self._descriptor, before)
            raise RunError(f"{self.path} cannot be written: {error.strerror}") from error

    def truncate(self, size_bytes: int) -> None:
        """Takes back every line after this length, so that a resumed run does not write them twice."""
        if size_bytes > self.size_bytes:
            missing = size_bytes - self.size_bytes
            _log.warning(
                "%s is %d bytes shorter than the checkpoint says: lines are missing", self.path, missing
            )
            return
        os.ftruncate(self._descriptor, size_bytes)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._descriptor)


def encode_line(record: Mapping[str, Any]) -> bytes:
    """One line of JSON, keys in the order in which they come, NaN and infinities as null."""
    try:
        text = _JSON.encode(record)
    except ValueError:
        text = _JSON.encode(_without_nan(record))
    # A lone surrogate, which a tokenizer can produce, has no UTF-8 spelling; JSON has an escape for it.
    return (text + "\n").encode(errors="backslashreplace")


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return value


def _whole_lines(descriptor: int) -> int:
    """The length up to and with the last newline."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
