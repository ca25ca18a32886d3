"""Writes a small job that trains at once: config, reward, data, and a README that walks through the first hour."""

from __future__ import annotations

from pathlib import Path

from whet import shipped
from whet.config_schema import schema_text
from whet.errors import ConfigError

TEMPLATES = Path(__file__).parent / "templates"
FILES = ("README.md", "config.yaml", "my_reward.py", "data.jsonl", "test.jsonl")


def write_starter(directory: Path, overwrite: bool = False) -> list[Path]:
    """The files written. What lies in the directory beside them stays.

    Raises `ConfigError` before anything is written when one of them is there already and `overwrite` is false.
    """
    contents = {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in FILES}
    contents[shipped.SCHEMA] = schema_text()
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory} is a file; expected a folder, or a name for a new one")
    there = [name for name in contents if (directory / name).exists()]
    if there and not overwrite:
        raise ConfigError(
            f"{directory} has {', '.join(there)} already, and nothing was written. "
            "Name another folder, or add --force to replace these files"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{directory} cannot be written: {error.strerror}") from error
    return [directory / name for name in contents]
