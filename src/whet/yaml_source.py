"""Reads settings from YAML files, mappings and `key.sub=value`, and remembers where each one was written.

Traps of YAML 1.1 are closed: `1e-3` is a number, `yes`, `no`, `on` and `off` are text, `010` is ten.
A key that appears twice is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from whet.errors import ConfigError

KeyPath = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_PATTERNS = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
_VALUES: dict[str, Callable[[str], Any]] = {
    _TAG + "null": lambda text: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": lambda text: int(text.replace("_", "")),
    _TAG + "float": lambda text: float(re.sub(r"_|\.(?=[a-zA-Z])", "", text)),
    _TAG + "str": str,
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or this module would read as something other than text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, (_pattern, _first) in _PATTERNS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), [*_first])
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"^$"), [""])


@dataclass(frozen=True)
class Layer:
    """Settings, and the place where each one was written."""

    values: dict[str, Any]
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> str:
        """The place of a setting, or of the section around it; empty where nothing of it was written."""
        return next((self.origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.origins), "")


def from_file(path: Path, label: str) -> Layer:
    """The settings of a YAML file; `label` stands for it in messages."""
    try:
        return _Reader(label).layer(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{label} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{label} is not text in UTF-8 (byte {error.start})") from error


def from_mapping(values: Mapping[str, Any]) -> Layer:
    """Settings that a Python program passes."""
    return Layer(dict(values), dict.fromkeys(_paths(values), "passed in Python"))


def from_overrides(overrides: Sequence[str]) -> Layer:
    """The settings of `key.sub=value` texts; values are YAML. They are one layer: their order is free."""
    layer, problems = Layer({}), []
    for text in overrides:
        try:
            layer = merge(layer, _override(text))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return layer


def merge(below: Layer, above: Layer) -> Layer:
    """Both layers as one; where both speak, `above` wins.

    Sections are merged key by key, lists are replaced. A section whose `name` changes is replaced as a whole, so
    that no setting of the other plug-in is left over. A text over or under a section stands for its name:
    `algorithm: grpo` is `algorithm: {name: grpo}`.
    """
    values = _merged(below.values, above.values)
    kept = set(_paths(values))
    return Layer(values, {path: o for path, o in (below.origins | above.origins).items() if path in kept})


def to_text(values: Mapping[str, Any]) -> str:
    """YAML that reads back as the same values."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, Mapping) and isinstance(above, str):
        above = {"name": above}
    if isinstance(below, str) and isinstance(above, Mapping):
        below = {"name": below}
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    names = below.get("name"), above.get("name")
    if None not in names and names[0] != names[1]:
        return dict(above)
    both = {key: _merged(below[key], above[key]) for key in below if key in above}
    return {**below, **above, **both}


def _paths(values: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of every setting and section."""
    items: list[tuple[Any, Any]] = []
    if isinstance(values, Mapping):
        items = list(values.items())
    elif isinstance(values, (list, tuple)):
        items = list(enumerate(values))
    for key, value in items:
        yield (*path, key)
        yield from _paths(value, (*path, key))


def _override(text: str) -> Layer:
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w-]*(\.[\w-]+)*", key.strip()):
        raise ConfigError(f"{text!r} is not a setting: write key=value or key.sub=value (command line)")
    values = _Reader("command line").value(value, text)
    for part in reversed(key.strip().split(".")):
        values = {part: values}
    return Layer(values, dict.fromkeys(_paths(values), "command line"))


class _Reader:
    """Turns the nodes of one document into values and notes their lines."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.origins: dict[KeyPath, str] = {}
        self.problems: list[str] = []

    def layer(self, text: str) -> Layer:
        values = self.value(text, self.label)
        if values is None:
            return Layer({})
        if not isinstance(values, dict):
            raise ConfigError(f"{self.label}: expected settings such as `max_steps: 100`, found {values!r}")
        return Layer(values, self.origins)

    def value(self, text: str, what: str) -> Any:
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"{self.label}, line {mark.line + 1}" if mark and what == self.label else self.label
            raise ConfigError(f"{what} is not valid YAML: {error.problem} ({where})") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{what} is not valid YAML: {error}") from error
        value = None if node is None else self._value(node, ())
        if self.problems:
            raise ConfigError("\n".join(self.problems))
        return value

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            for n, child in enumerate(node.value):
                self.origins[(*path, n)] = self._place(child)
            return [self._value(child, (*path, n)) for n, child in enumerate(node.value)]
        try:
            return _VALUES[node.tag](node.value)
        except (KeyError, ValueError):
            self.problems.append(f"{node.value!r} cannot be read as {node.tag} ({self._place(node)})")

    def _items(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, Any]]:
        first: dict[str, yaml.Node] = {}
        for key, child in node.value:
            name = str(key.value)
            if name in first:
                twice = f"line {first[name].start_mark.line + 1} and again in line {key.start_mark.line + 1}"
                self.problems.append(
                    f"{'.'.join(map(str, (*path, name)))} is given in {twice} of {self.label}"
                )
            first.setdefault(name, key)
            self.origins[(*path, name)] = self._place(key)
            yield name, self._value(child, (*path, name))

    def _place(self, node: yaml.Node) -> str:
        return f"{self.label}, line {node.start_mark.line + 1}"
