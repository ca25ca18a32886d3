"""The configs that come with whet, by name: `arithmetic` is configs/arithmetic.yaml, `overfit/baseline` lies below.

An overlay has no task: it changes some settings of a config that stands before it: `whet train arithmetic smoke`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"
SCHEMA = "whet.schema.json"
"""File beside the configs that `tools/config_reference.py` writes."""
EDITOR_LINE = "# yaml-language-server: $schema="
"""Editors that know YAML read settings, choices and meanings from the JSON Schema behind it."""


def names() -> list[str]:
    """All names, those in folders as `folder/name`."""
    return sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml"))


def name_of(source: str | Path) -> str | None:
    """The name that `quick`, `quick.yaml` or `configs/quick.yaml` stands for; None when nothing of it ships."""
    path = Path(source)
    path = path.with_suffix("") if path.suffix in (".yaml", ".yml") else path
    name = path.as_posix().removeprefix("configs/")
    return name if name in names() else None


def path_of(name: str) -> Path:
    """The file of a name."""
    return CONFIGS / f"{name}.yaml"


def about(name: str) -> str:
    """The first sentence of the comment that a config begins with."""
    lines = (line.removeprefix("#").strip() for line in _comment(path_of(name).read_text(encoding="utf-8")))
    return re.split(r"(?<=[.?])(?<!\bDr\.)(?:\s|$)", " ".join(lines), maxsplit=1)[0].rstrip(".")


def is_overlay(name: str) -> bool:
    """Whether a config has no task, so that it cannot be run alone."""
    return not re.search(r"^task:", path_of(name).read_text(encoding="utf-8"), re.MULTILINE)


def _comment(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        if not line.startswith(EDITOR_LINE):
            yield line
