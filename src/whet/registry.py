"""Finds plug-ins by name: the file name is the name.

`dr_grpo` of kind `algorithms` is the one public plug-in class in `whet/algorithms/dr_grpo.py`; there is no table to
edit. Code outside the package is named `module:name` or `./file.py:name`: a plug-in class or, where the kind has a
wrapper in its `function.py`, a plain function.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from whet.errors import ConfigError
from whet.foreign_names import plugin_hint

_FROM_FILE = "whet_file_"


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Plugin(Settings):
    """Anything that a config names. `name` is filled in by the registry."""

    name: str = ""


class PluginProblems(ValueError):
    """Wraps the validation errors of a plug-in, so that they can be listed beside those of the whole config."""

    def __init__(self, name: str, errors: list[dict[str, Any]], model: type[BaseModel]) -> None:
        super().__init__(f"{len(errors)} problems in the settings of {name}")
        self.name = name
        self.errors = errors
        self.model = model


def names(kind: str) -> list[str]:
    """The names of one kind that ship with whet."""
    package = importlib.import_module(f"whet.{kind}")
    modules = (m.name for m in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in modules if name != "function" and not name.startswith("_"))


def _listed(kind: str) -> str:
    return ", ".join(names(kind)) or "none ship with whet"


def load(kind: str, name: str) -> type[Plugin]:
    """The settings class behind a name; raises `ConfigError` when there is none."""
    return _load_outside(kind, name) if ":" in name else _class_in(_module(kind, name), name)


def build(kind: str, spec: str | Mapping[str, Any] | Plugin) -> Plugin:
    """A plug-in from its name, from `{name: ..., settings...}`, or itself.

    Raises `ConfigError` for a name that does not exist and `PluginProblems` for settings that do not fit.
    """
    if isinstance(spec, Plugin):
        return spec if spec.name else spec.model_copy(update={"name": _name_of(type(spec))})
    if not isinstance(spec, (str, Mapping)):
        raise ConfigError(f"expected a name or a section with a name, found {spec!r}")
    settings = {"name": spec} if isinstance(spec, str) else dict(spec)
    if not isinstance(settings.get("name"), str):
        raise ConfigError(f"this needs a name, one of: {_listed(kind)}")
    cls = load(kind, settings["name"])
    try:
        return cls.model_validate(settings)
    except ValidationError as error:
        raise PluginProblems(settings["name"], list(error.errors()), cls) from error  # type: ignore[arg-type]


@dataclass(frozen=True)
class Builder:
    """Builds the plug-in that a config names; a section without a name has the settings of `default`."""

    kind: str
    default: str | None = None

    def __call__(self, spec: Any) -> Any:
        if isinstance(spec, Mapping) and self.default is not None:
            spec = {"name": self.default, **spec}
        return spec if spec is None else build(self.kind, spec)


def field(kind: str, default: str | None = None) -> BeforeValidator:
    """For `Annotated[SerializeAsAny[Verifier], field("verifiers")]`: builds the plug-in that a config names."""
    return BeforeValidator(Builder(kind, default))


def _name_of(cls: type[Plugin]) -> str:
    """The name under which `load` finds a class."""
    package, _, module = cls.__module__.rpartition(".")
    if package.startswith("whet."):
        return module
    from_file = cls.__module__.startswith(_FROM_FILE)
    return f"{inspect.getfile(cls) if from_file else cls.__module__}:{cls.__name__}"


def _module(kind: str, name: str) -> ModuleType:
    known = names(kind)
    if name.endswith(".py"):
        raise ConfigError(f"{name} is a file: name what it holds too, such as {name}:score")
    if name not in known:
        plain = re.sub(r"[\W_]+", "_", name.lower())
        close = difflib.get_close_matches(plain, known, 1)
        foreign = plugin_hint(kind, name)
        hint = f" {foreign}." if foreign else f" Did you mean {close[0]}?" if close else ""
        if Path(f"{name}.py").is_file():
            hint = f" For your own file write ./{name}.py:NAME, with the name of what it holds."
        raise ConfigError(f"there is no {name!r} among the {kind}.{hint} There are: {_listed(kind)}")
    return importlib.import_module(f"whet.{kind}.{name}")


def _class_in(module: ModuleType, name: str) -> type[Plugin]:
    found = [
        value
        for attribute, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Plugin)
        and value.__module__ == module.__name__
        and not attribute.startswith("_")
    ]
    if len(found) != 1:
        raise ConfigError(
            f"{name}: expected one public plug-in class in {module.__file__}, found {len(found)}"
        )
    return found[0]


def _load_outside(kind: str, name: str) -> type[Plugin]:
    where, _, attribute = name.rpartition(":")
    module = _module_from_file(Path(where)) if where.endswith(".py") else _module_by_name(where)
    value = getattr(module, attribute, None)
    if inspect.isclass(value) and issubclass(value, Plugin):
        return value
    if inspect.isfunction(value) and importlib.util.find_spec(f"whet.{kind}.function"):
        return _class_in(importlib.import_module(f"whet.{kind}.function"), "function")
    public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
    raise ConfigError(f"{where} has no plug-in or function called {attribute!r}; it has: {', '.join(public)}")


def function(name: str) -> Any:
    """The object behind `module:name` or `./file.py:name`."""
    where, _, attribute = name.rpartition(":")
    module = _module_from_file(Path(where)) if where.endswith(".py") else _module_by_name(where)
    return getattr(module, attribute)


def _module_by_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"the module {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _module_from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{path} is not a file (looked in {Path.cwd()})")
    # The module is registered under its path, so that one file is run once and its classes stay the same objects.
    name = _FROM_FILE + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script's own argument parser exits
        del sys.modules[name]
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == spec.origin]
        where = f" (line {lines[-1]})" if lines else ""
        raise ConfigError(f"{path} cannot be imported{where}: {type(error).__name__}: {error}") from error
    return module
