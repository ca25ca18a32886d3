"""Reads files of rows, and says which line is wrong: JSON lines, JSON, CSV, TSV and Parquet, told by their ending."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from whet.errors import DataError, missing_extra
from whet.tasks._rows import Row, alike

_LISTS = ("data", "rows", "examples")
"""Fields under which a JSON file may keep its rows."""


def ending_of(path: Path) -> str:
    """The ending that says how a file is read, `.gz` left out; empty when it says nothing."""
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    return ending if ending in _READERS else ""


def stem_of(path: Path) -> str:
    """The file's name without its endings."""
    return Path(path.name.removesuffix(".gz")).stem


def read_rows(path: Path) -> list[Row]:
    """The rows of a file; blank lines are left out.

    Raises `DataError` for a missing or empty file, an unknown ending, and the first line that is no row.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; name one file of it, such as {path / 'train.jsonl'}")
    if not path.is_file():
        raise DataError(f"{path} is not a file (looked in {Path.cwd()})")
    if not ending_of(path):
        known = ", ".join(_READERS)
        raise DataError(
            f"{path}: the ending says how a file is read; expected one of {known}, and .gz behind it"
        )
    rows = _READERS[ending_of(path)](path)
    if not rows:
        raise DataError(f"{path} is empty; expected one row or more")
    return rows


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        data = gzip.decompress(data) if path.suffix.lower() == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked: {error}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _json_lines(path: Path) -> list[Row]:
    # Not splitlines(): a JSON string may hold other line ends, such as U+2028.
    lines = enumerate(_text(path).split("\n"), 1)
    return [_json_row(line, f"{path}, line {n}") for n, line in lines if line.strip()]


def _json_row(line: str, where: str) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:  # not only JSONDecodeError: an integer of 5,000 digits too
        raise DataError(f"{where}: expected a JSON object, found {line[:80]!r} ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a JSON object, found {line[:80]!r}")
    return Row(fields=value, where=where)


def _json(path: Path) -> list[Row]:
    """A list of objects, also under `data`, `rows` or `examples`; or JSON lines, which often have this ending too."""
    text = _text(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not text.lstrip().startswith("["):
            return _json_lines(path)
        raise DataError(f"{path}: expected a list of JSON objects ({error})") from None
    if isinstance(found, dict):
        found = next((found[key] for key in _LISTS if isinstance(found.get(key), list)), found)
    if not isinstance(found, list):
        raise DataError(
            f"{path}: expected a list of objects, alone or under {', '.join(_LISTS)}; found {text[:80]!r}"
        )
    for n, item in enumerate(found, 1):
        if not isinstance(item, dict):
            raise DataError(f"{path}, row {n}: expected an object, found {json.dumps(item)[:80]}")
    return alike(found, f"{path}, row")


def _table(path: Path) -> list[Row]:
    return [Row(fields=fields, where=f"{path}, line {n}") for fields, n in _cells(path)]


def _cells(path: Path) -> Iterator[tuple[Mapping[str, str | None], int]]:
    """The rows below the header and the line where each begins. Every cell is text, an empty one null."""
    text = _text(path)
    header = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    # Spreadsheets write semicolons where the comma is the decimal mark.
    delimiter = "\t" if ending_of(path) == ".tsv" else max(",;\t", key=header.count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    try:
        names = [name.strip() for name in next(filter(None, reader), [])]
        if "" in names or len(set(names)) < len(names):
            raise DataError(f"{path}, line 1: expected different names of fields, found {', '.join(names)}")
        line = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(names):
                raise DataError(
                    f"{path}, line {line}: expected {len(names)} cells ({', '.join(names)}), found {len(cells)}"
                )
            if cells:
                yield {name: cell or None for name, cell in zip(names, cells, strict=True)}, line
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _parquet(path: Path) -> list[Row]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra(f"reading {path}", "pyarrow", "data") from None
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from None
    return alike(rows, f"{path}, row")


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _table,
    ".tsv": _table,
    ".parquet": _parquet,
}
