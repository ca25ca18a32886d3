"""Settings written as options (`--max_steps=5`) or as YAML (`max_steps: 5`), where `max_steps=5` is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from whet.errors import ConfigError


def refuse_misspelt_settings(program: Any, words: Sequence[str]) -> None:
    """Raises `ConfigError` with the right way to write them. Words that are no setting are left to the parser.

    program: the click group of all verbs. Verbs that take no settings are left alone.
    """
    verb = getattr(program, "commands", {}).get(words[0]) if words else None
    if verb is None or not any(".SUB=VALUE" in (getattr(p, "metavar", "") or "") for p in verb.params):
        return
    options = {name for parameter in verb.params for name in parameter.opts}
    for word, after in pairwise([*words[1:], ""]):
        if word == "--":
            return
        _refuse(word, after, options)


def _refuse(word: str, after: str, options: set[str]) -> None:
    name, equals, value = word.partition("=")
    dashed = re.fullmatch(r"--([A-Za-z][\w.-]*)", name)
    yaml = re.fullmatch(r"([A-Za-z_][\w.]*):(?:\s+(.*))?", word)
    if dashed and name not in options:
        text = value if equals else "true" if after.startswith("-") or not after else after
        if written := _written(dashed[1].replace("-", "_"), text):
            raise ConfigError(f"{name} is not an option: a setting is written without dashes, {written}")
    if yaml and not Path(word).exists() and (written := _written(yaml[1], yaml[2] or after)):
        raise ConfigError(f"{word!r} is how a file says it; on the command line it is {written}")


def _written(name: str, value: str) -> str | None:
    """How a setting that is called so, here or in another tool, is written; None for any other word."""
    from whet.config import Config
    from whet.config_problems import settings_of
    from whet.foreign_names import answer_for, place_of

    places = settings_of(Config, {})
    if name not in places and (answer := answer_for(name)):
        same = place_of(answer) == answer or (place_of(answer) or "").endswith(f".{name}")
        return f"{place_of(answer)}={value}" if same else f"as key=value; for {name}: {answer}"
    found = [place for place in places if place == name or place.rpartition(".")[2] == name]
    return f"{min(found, key=lambda place: place.count('.'))}={value}" if found else None
