"""Opens the trackers that a config names: `console`, `jsonl`, `tensorboard`, or `./file.py:MyTracker`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet import registry
from whet.errors import ConfigError
from whet.interfaces import Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What a tracker may know of a run. Its class method `open` takes it."""

    directory: Path
    train_log: Path
    tensorboard: Path
    max_steps: int | None = None
    resume_step: int | None = None
    """The last step that is done when the run continues; whatever was logged after it is void."""


def build_trackers(names: Iterable[str], run: RunView) -> list[Tracker]:
    """The trackers of a run, opened; raises `ConfigError` for a name that does not exist."""
    opened: list[Tracker] = [_tracker_class(name).open(run) for name in dict.fromkeys(names)]
    return opened


def names() -> list[str]:
    """The trackers that ship with whet."""
    return [name for name in registry.names("tracking") if _class_in(name)]


def _tracker_class(name: str) -> Any:
    if ":" in name:
        found = registry.function(name)
    elif name in registry.names("tracking"):
        found = _class_in(name)
    else:
        found = None
    if not hasattr(found, "open"):
        raise ConfigError(
            f"trackers: {name!r} is no tracker; expected one of {', '.join(names())}, or ./file.py:Name of a"
            " class with open, log and close"
        )
    return found


def _class_in(name: str) -> Any:
    """The class with an `open` of its own module; the folder's other files have none."""
    module = importlib.import_module(f"whet.tracking.{name}")
    own = (c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__)
    return next((c for c in own if hasattr(c, "open")), None)
