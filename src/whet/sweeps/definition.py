"""What a sweep compares: settings made of configs and a grid of values, and how many seeds each one gets."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet import yaml_source
from whet.config import Config, load_config
from whet.errors import ConfigError
from whet.runs.files import replace_file

_FILE = "sweep.yaml"
_SHOWN = 8
"""Differences that a refusal names."""
_LABEL = 60
"""Characters of a directory's name, before the hash of a longer one."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that is compared with the others."""

    label: str
    config: Config

    def seeds(self, count: int) -> range:
        """The seeds of its runs: the config's own and those after it."""
        return range(self.config.seed, self.config.seed + count)


@dataclass(frozen=True, slots=True)
class Definition:
    """Everything that decides what the runs of a sweep are."""

    settings: tuple[Setting, ...]
    num_seeds: int

    def plain(self) -> dict[str, Any]:
        """As plain data. Where the runs lie is no part of it."""
        dumped = {s.label: s.config.model_dump(mode="json", exclude={"runs_root"}) for s in self.settings}
        return {"seeds": self.num_seeds, "settings": dumped}


def define(
    configs: Sequence[str], grid: Sequence[str] = (), overrides: Sequence[str] = (), num_seeds: int = 3
) -> Definition:
    """Every config with every combination of the grid's values. Raises `ConfigError` before anything runs.

    configs: shipped names or files; those that are layers of one config are joined by `+`. grid: `key=a,b` texts.
    overrides: `key=value` texts that hold for all.
    """
    axes = [_axis(text) for text in grid]
    _refuse_twice([key for key, _ in axes], overrides)
    keys, names = _short([key for key, _ in axes]), _names(configs)
    settings = []
    for config, values in itertools.product(configs, itertools.product(*(values for _, values in axes))):
        chosen = [f"{key}={json.dumps(value)}" for (key, _), value in zip(axes, values, strict=True)]
        words = [names[config]] if len(configs) > 1 or not axes else []
        words += [f"{keys[key]}={_spell(value)}" for (key, _), value in zip(axes, values, strict=True)]
        settings.append(Setting(" ".join(words), load_config(_layers(config), [*overrides, *chosen])))
    if twice := [label for label, n in Counter(slug(s.label) for s in settings).items() if n > 1]:
        raise ConfigError(f"these are in the sweep twice: {', '.join(twice)}")
    return Definition(tuple(settings), num_seeds)


def default_name(configs: Sequence[str], grid: Sequence[str]) -> str:
    """A name after the configs and the keys of the grid: the same command has the same name."""
    keys = [text.partition("=")[0].strip().rpartition(".")[2] for text in grid]
    return slug("_".join([*_names(configs).values(), *keys]))


def slug(text: str) -> str:
    """The text as the name of a directory; a long one ends in a hash of it."""
    plain = re.sub(r"[^\w.=,+-]+", "_", text).strip("_.")
    if len(plain) <= _LABEL:
        return plain
    return f"{plain[:_LABEL]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def keep(definition: Definition, directory: Path) -> None:
    """Writes the definition into the sweep; raises `ConfigError` with the differences when another one is there."""
    file, wanted = directory / _FILE, definition.plain()
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(file, yaml_source.to_text(wanted).encode())
        return
    if differences := list(_differences(_read(file), wanted)):
        rest = len(differences) - _SHOWN
        more = f"\n  and {rest} more" if rest > 0 else ""
        raise ConfigError(
            f"{directory} is another sweep; take another --name, or remove it. It differs in (there -> here)\n  "
            + "\n  ".join(differences[:_SHOWN])
            + more
        )


def load(directory: Path) -> Definition:
    """The definition of a sweep that was begun; raises `ConfigError` where there is none."""
    file = directory / _FILE
    if not file.is_file():
        raise ConfigError(f"{directory} is no sweep: it has no {_FILE}")
    found = _read(file)
    settings = [Setting(label, load_config([config])) for label, config in found["settings"].items()]
    return Definition(tuple(settings), found["seeds"])


def _read(file: Path) -> dict[str, Any]:
    return yaml_source.from_file(file, str(file)).values


def _axis(text: str) -> tuple[str, list[Any]]:
    key, equals, values = text.partition("=")
    if not equals or not values.strip():
        raise ConfigError(f"{text!r} is no list of values: write --set key.sub=a,b")
    if key.strip() == "seed":
        raise ConfigError(
            "--set seed=... makes settings of seeds; write --seeds COUNT, and seed=FIRST if needed"
        )
    found = yaml_source.from_overrides([f"values=[{values}]"]).values["values"]
    return key.strip(), found


def _refuse_twice(keys: Sequence[str], overrides: Sequence[str]) -> None:
    given = Counter([*keys, *(text.partition("=")[0].strip() for text in overrides)])
    if twice := [key for key in keys if given[key] > 1]:
        raise ConfigError(f"{', '.join(dict.fromkeys(twice))}: given more than once; keep the one --set")


def _layers(config: str) -> list[str]:
    """A name with a + in it may be a file; else it joins the layers of one config."""
    return [config] if Path(config).is_file() else config.split("+")


def _names(configs: Sequence[str]) -> dict[str, str]:
    """The last parts of the paths, where they tell the configs apart."""
    short = {c: "+".join(Path(part).stem for part in _layers(c)) for c in configs}
    return short if len(set(short.values())) == len(short) else {c: c for c in configs}


def _short(keys: Sequence[str]) -> dict[str, str]:
    """The last parts of the keys, where they tell the keys apart."""
    last = Counter(key.rpartition(".")[2] for key in keys)
    return {key: tail if last[tail := key.rpartition(".")[2]] == 1 else key for key in keys}


def _spell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return re.sub(r'["{}]', "", json.dumps(value)).replace(": ", "=")


def _differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    if not (isinstance(there, Mapping) and isinstance(here, Mapping)):
        if there != here:
            yield f"{path}: {_brief(there)} -> {_brief(here)}"
        return
    for key in [*there, *(k for k in here if k not in there)]:
        place = f"{path}.{key}" if path else str(key)
        yield from _differences(there.get(key, "nothing"), here.get(key, "nothing"), place)


def _brief(value: Any) -> str:
    return "{...}" if isinstance(value, Mapping) else json.dumps(value)
