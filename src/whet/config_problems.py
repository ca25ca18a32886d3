"""Says in one line each what is wrong with a config: the setting, what was expected, what was found, where, the fix."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from whet import registry
from whet.errors import ConfigError
from whet.foreign_names import answer_for, exact_answer, known_words, place_of
from whet.yaml_source import KeyPath, Layer

_BASIC = {int: "an integer", float: "a number", bool: "true or false", str: "text", Path: "a path"}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_KINDS = {"task": "tasks", "policy": "policies", "engine": "engines", "algorithm": "algorithms"}
_BRANCH = re.compile(r"constrained-\w+|literal\[.*\]")
"""What pydantic appends to the path of a setting that takes a number or a word, once for each."""
_WRITTEN = {None: "null", True: "true", False: "false"}


@dataclass(frozen=True)
class Problem:
    """One validation error, with the settings that it came from."""

    path: KeyPath
    """From the top of the config."""
    depth: int
    """How much of the path leads to `model`."""
    model: type[BaseModel]
    owner: str
    """The name of the plug-in, empty for the config itself."""
    error: Mapping[str, Any]


def explain(errors: Sequence[Mapping[str, Any]], model: type[BaseModel], layer: Layer) -> list[str]:
    """One line per problem, in the order in which they were found, each once."""
    places = settings_of(model, layer.values)
    lines = (_line(problem, layer, places) for problem in _flatten(errors, model, (), ""))
    return list(dict.fromkeys(part for line in lines for part in line.splitlines()))


def settings_of(model: type[BaseModel], values: Mapping[str, Any]) -> list[str]:
    """The full path of every setting that a config with these values may have."""
    found: list[str] = []
    for name, info in model.model_fields.items():
        inner = _section(info) or _chosen_plugin(info, values.get(name))
        below = values.get(name)
        found.append(name)
        if inner is not None:
            sub = settings_of(inner, below if isinstance(below, Mapping) else {})
            found.extend(f"{name}.{path}" for path in sub if path != "name")
    return found


def _flatten(
    errors: Sequence[Mapping[str, Any]], model: type[BaseModel], path: KeyPath, owner: str
) -> Iterator[Problem]:
    for error in errors:
        inner = error.get("ctx", {}).get("error")
        here = (*path, *(key for key in error["loc"] if not _BRANCH.fullmatch(str(key))))
        if isinstance(inner, registry.PluginProblems):
            yield from _flatten(inner.errors, inner.model, here, inner.name)
        else:
            yield Problem(here, len(path), model, owner, error)


def _line(problem: Problem, layer: Layer, places: list[str]) -> str:
    kind, inner = problem.error["type"], problem.error.get("ctx", {}).get("error")
    path = ".".join(map(str, problem.path))
    where = f" ({origin})" if (origin := _origin(problem.path, layer)) else ""
    if kind == "extra_forbidden":
        return _foreign_section(problem, layer, places) or (
            f"{path} is not a setting of {_owner(problem)}{where}. {_hint(problem, places)}"
        )
    if isinstance(inner, ConfigError) or kind in ("value_error", "assertion_error"):
        text = str(inner) if inner else problem.error["msg"]
        return f"{path}: {text}{where}" if path else text
    expected = _expected(problem)
    if kind == "missing":
        return f"{path} is missing: expected {expected}{where}"
    return f"{path}: expected {expected}, found {_written(problem.error['input'])}{where}"


def _origin(path: KeyPath, layer: Layer) -> str:
    if path[:2] == ("task", "verifier") and path[:2] not in layer.origins:
        path = path[1:]  # `verifier:` is short for `task.verifier`
    return layer.origin(path)


def _owner(problem: Problem) -> str:
    """The plug-in or section that a setting was written into."""
    section = ".".join(map(str, problem.path[problem.depth : -1]))
    return " of ".join(filter(None, (section, problem.owner))) or "the config"


def _expected(problem: Problem) -> str:
    field = _field(problem.model, problem.path[problem.depth :])
    if field is None:
        return str(problem.error["msg"])
    items = typing.get_args(field.annotation)
    if isinstance(problem.path[-1], int) and items:
        return _words(items[0])
    return describe(field)


def _foreign_section(problem: Problem, layer: Layer, places: list[str]) -> str:
    """A line per setting of a whole section that another tool has; empty where no tool has such settings."""
    if not isinstance(problem.error["input"], Mapping):
        return ""
    answers = {path: exact_answer(".".join(map(str, path))) for path in _leaves(problem)}
    if not any(answers.values()):
        return ""
    return "\n".join(
        f"{'.'.join(map(str, path))} is not a setting of whet ({layer.origin(path)}). "
        + (_translated(answer, [], places) if answer else "It has nothing of that name.")
        for path, answer in answers.items()
    )


def _leaves(problem: Problem) -> Iterator[KeyPath]:
    """The settings inside an unknown section."""
    waiting: list[tuple[KeyPath, Any]] = [(problem.path, problem.error["input"])]
    for path, value in waiting:
        if isinstance(value, Mapping):
            waiting.extend(((*path, key), below) for key, below in value.items())
        else:
            yield path


def _hint(problem: Problem, places: list[str]) -> str:
    key = str(problem.path[-1])
    model = _model_at(problem.model, problem.path[problem.depth : -1])
    here = [name for name in (model.model_fields if model else {}) if name != "name"]
    exact = exact_answer(".".join(map(str, problem.path)))
    if exact and (place_of(exact) or "").rpartition(".")[2] != key:
        return _translated(exact, here, places)
    elsewhere = [path for path in places if path.rpartition(".")[2] == key]
    if elsewhere:
        level = min(path.count(".") for path in elsewhere)
        return f"Its place is {' or '.join(p for p in elsewhere if p.count('.') == level)}."
    if answer := answer_for(key):
        return _translated(answer, here, places)
    close = difflib.get_close_matches(key, {*here, *known_words()}, 1, 0.7)
    if close:
        prefix = ".".join(map(str, problem.path[:-1])) + "."
        return f"Did you mean {_name_of(close[0], here).removeprefix(prefix)}?"
    close = difflib.get_close_matches(key, [path.rpartition(".")[2] for path in places], 1, 0.7)
    if close:
        return f"Did you mean {next(path for path in places if path.rpartition('.')[2] == close[0])}?"
    return f"Settings here: {', '.join(here)}." if here else "It has no settings."


def _translated(answer: str, here: list[str], places: list[str]) -> str:
    """What whet has for another tool's setting, as a sentence. here: the settings beside it, places: all."""
    start, _, reason = answer.partition(": ")
    if start in ("not needed", "not there"):
        return f"whet {'does not need' if start == 'not needed' else 'does not have'} it: {reason}."
    place = place_of(answer)
    if place is None:
        return f"In whet it is {answer}."
    last, explanation = place.rpartition(".")[2], answer.removeprefix(place)
    if last in here:
        return f"In whet it is {last}{explanation}."
    return f"In whet it is {place}{_owners(place, places)}{explanation}."


def _owners(place: str, places: list[str]) -> str:
    """Which plug-ins have a setting that those of this config lack: ` of huggingface`."""
    section, _, setting = place.partition(".")
    kind = _KINDS.get(section)
    if place in places or setting in ("", "name") or kind is None:
        return ""
    field = setting.partition(".")[0]
    having = [name for name in registry.names(kind) if field in registry.load(kind, name).model_fields]
    return f" of {' or '.join(having)}" if having else ""


def _name_of(match: str, here: list[str]) -> str:
    return match if match in here else place_of(answer_for(match) or match) or match


def describe(field: FieldInfo) -> str:
    """What a setting takes, in words: `an integer >= 1`."""
    kind = plugin_kind(field)
    if kind:
        return _choices(kind)
    words, null = _words(field.annotation), ""
    if words.endswith(" or null"):
        words, null = words.removesuffix(" or null"), " or null"
    return f"{words}{_bounds(field.metadata)}{null}"


def _bounds(metadata: Sequence[Any]) -> str:
    """The limits of a number, such as ` >= 1`; empty without one."""
    found = [
        f"{sign} {getattr(limit, bound)}"
        for item in metadata
        for limit in getattr(item, "metadata", [item])
        for bound, sign in _BOUNDS.items()
        if getattr(limit, bound, None) is not None
    ]
    return f" {' and '.join(found)}" if found else ""


def plugin_kind(field: FieldInfo) -> str | None:
    """The kind of plug-in that a field names, if any."""
    return _kind_in(field.metadata)


def _kind_in(metadata: Sequence[Any]) -> str | None:
    builders = (getattr(item, "func", None) for item in metadata)
    return next((b.kind for b in builders if isinstance(b, registry.Builder)), None)


def _choices(kind: str) -> str:
    return f"one of the {kind} ({', '.join(registry.names(kind))})"


def _words(annotation: Any) -> str:
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _BASIC:
        return _BASIC[annotation]
    if annotation is Any:
        return "any value"
    if origin is Literal:
        return ("one of " if len(inside) > 1 else "") + ", ".join(map(_written, inside))
    if origin is typing.Annotated:
        kind = _kind_in(inside[1:])
        return _choices(kind) if kind else _words(inside[0]) + _bounds(inside[1:])
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _words(a) for a in inside)
    if origin in (tuple, list):
        items = [_words(a) for a in inside if a is not Ellipsis]
        return f"a list of {len(items)}: {', '.join(items)}" if len(items) > 1 else f"a list, each {items[0]}"
    if origin in (dict, Mapping):
        return f"a mapping from names, each to {_words(inside[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a section ({', '.join(annotation.model_fields)})"
    return getattr(annotation, "__name__", None) or str(annotation)


def _written(value: Any) -> str:
    """A value as one writes it in YAML, cut when it is long."""
    text = _WRITTEN[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _field(model: type[BaseModel], path: KeyPath) -> FieldInfo | None:
    """The field at a path inside a model; of a list, the list's own."""
    names = [key for key in path if isinstance(key, str)]
    for n in range(len(names), 0, -1):
        parent = _model_at(model, tuple(names[: n - 1]))
        if parent is not None and names[n - 1] in parent.model_fields:
            return parent.model_fields[names[n - 1]]
    return None


def _model_at(model: type[BaseModel] | None, path: KeyPath) -> type[BaseModel] | None:
    for key in path:
        info = model.model_fields.get(str(key)) if model else None
        model = _section(info) if info else None
    return model


def _section(info: FieldInfo) -> type[BaseModel] | None:
    """The settings class of a section; none for plug-ins, whose class depends on their name."""
    if plugin_kind(info):
        return None
    choices = [info.annotation, *typing.get_args(info.annotation)]
    return next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _chosen_plugin(info: FieldInfo, value: Any) -> type[BaseModel] | None:
    kind = plugin_kind(info)
    name = value.get("name") if isinstance(value, Mapping) else value
    name = name if name is not None or info.is_required() else info.default
    try:
        return registry.load(kind, name) if kind and isinstance(name, str) else None
    except ConfigError:
        return None
