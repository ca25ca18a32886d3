"""Opens the trackers that a config names: those of this folder, or `./file.py:MyTracker`.

A tracker is a class with a class method `open(RunView)`, with `log` and `close`, and where it can fail to start, a
class method `check()`. Only `jsonl`, the log that whet itself reads back, may end a run.
"""

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
from whet.tracking.remote import Tolerant

RECORD = "jsonl"
"""The tracker that must not fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What a tracker may know of a run. Its class method `open` takes it."""

    directory: Path
    train_log: Path
    tensorboard: Path
    max_steps: int | None = None
    resume_step: int | None = None
    """The last step that is done when the run continues; whatever was logged after it is void."""


def check_trackers(names: Iterable[str]) -> None:
    """Raises `ConfigError` with the fix for a tracker that does not exist or could not start."""
    for name in dict.fromkeys(names):
        getattr(_tracker_class(name), "check", lambda: None)()


def build_trackers(names: Iterable[str], run: RunView) -> list[Tracker]:
    """The trackers of a run, opened; raises what they raise, and `ConfigError` for a name that does not exist."""
    opened: list[Tracker] = []
    try:
        for name in dict.fromkeys(names):
            tracker = _tracker_class(name).open(run)
            opened.append(tracker if name == RECORD else Tolerant(name, tracker))
    except BaseException:
        for tracker in opened:
            tracker.close()
        raise
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
