"""Writes what the settings classes and their docstrings say: the tables of docs/configuration.md, the editors' schema.

python tools/config_reference.py          rewrites all that stands below the mark in the page, and the schema file
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from whet import registry, shipped
from whet.config import Config
from whet.config_problems import describe, plugin_kind
from whet.config_schema import schema_text
from whet.interfaces import Algorithm, Probe, Task, Verifier
from whet.registry import Plugin

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
MARK = (
    "<!-- Written by tools/config_reference.py from the settings classes; change those and run it again. -->"
)
SHARED: dict[str, type[Plugin]] = {
    "algorithms": Algorithm,
    "tasks": Task,
    "verifiers": Verifier,
    "policies": Plugin,
    "engines": Plugin,
    "probes": Probe,
}
COMPUTED = {"runs_root": '"runs", or the variable WHET_RUNS'}
"""Defaults that a program computes."""


def page(text: str) -> str:
    """The page with its tables as the settings classes are now."""
    return text.partition(MARK)[0] + MARK + "\n\n" + "\n".join(reference())


def reference() -> Iterator[str]:
    """Every line below the mark: the config, its sections, then the plug-ins of each kind."""
    sections = {n: m for n, info in Config.model_fields.items() if (m := section(info)) is not None}
    yield from table("## Top level", Config, "", skip=sections)
    for name, model in sections.items():
        yield from table(f"## `{name}`", model, f"{name}.")
    for kind, base in SHARED.items():
        yield from table(f"## {kind.capitalize()}", base, "", skip={"name"}, note=f"Settings of all {kind}.")
        for name in registry.names(kind):
            yield from plugin(registry.load(kind, name), name, base)


def plugin(cls: type[Plugin], name: str, base: type[Plugin]) -> Iterator[str]:
    """The settings that a plug-in adds to its base or gives another default."""
    inherited = {
        n for n, info in base.model_fields.items() if default(n, info) == default(n, cls.model_fields[n])
    }
    about = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")
    yield from table(f"### `{name}`", cls, "", skip={"name", *inherited}, note=about)


def table(
    title: str, model: type[BaseModel], prefix: str, skip: Collection[str] = (), note: str = ""
) -> Iterator[str]:
    """A heading, a note, and one row per setting."""
    yield from (title, "")
    if note:
        yield from (plain(note), "")
    rows = {name: info for name, info in model.model_fields.items() if name not in skip}
    if rows:
        yield from ("| setting | takes | default | meaning |", "|---|---|---|---|")
        for name, info in rows.items():
            yield row(name, info, prefix)
            inner = section(info)
            if inner is not None and inner not in map(section, Config.model_fields.values()):
                deeper = f"{prefix}{name}." + "NAME." * (get_origin(info.annotation) in (dict, Mapping))
                yield from (row(below, its, deeper) for below, its in inner.model_fields.items())
        yield ""


def row(name: str, info: FieldInfo, prefix: str) -> str:
    cells = (f"`{prefix}{name}`", takes(info), default(name, info), info.description or "")
    return "| " + " | ".join(map(plain, cells)).rstrip() + " |"


def takes(info: FieldInfo) -> str:
    """What a setting takes, in the words of whet's own messages; plug-ins as a link to their tables."""
    return re.sub(r"one of the (\w+) \([^)]*\)", r"one of the [\1](#\1)", describe(info))


def default(name: str, info: FieldInfo) -> str:
    """The default as one writes it in YAML."""
    if name in COMPUTED:
        return COMPUTED[name]
    value = info.get_default(call_default_factory=True)  # type: ignore[call-arg]
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return f"`{json.dumps(value.model_dump(mode='json', exclude_defaults=True))}`"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def section(info: FieldInfo) -> type[BaseModel] | None:
    """The settings class of a section of the config; none for a plug-in or a plain value."""
    choices: tuple[Any, ...] = (info.annotation, *get_args(info.annotation))
    models = [c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)]
    return models[0] if models and not plugin_kind(info) else None


def plain(text: str) -> str:
    """One line of a table: no line break, and no bar."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    (shipped.CONFIGS / shipped.SCHEMA).write_text(schema_text(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
