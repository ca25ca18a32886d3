"""What trackers of other programs share: their place in a run, and failures that do not end it."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whet import keys
from whet.errors import missing_extra
from whet.interfaces import Tracker

_log = logging.getLogger(__name__)


class Tolerant:
    """A tracker whose failures are said once and change nothing else: a run does not end for lack of a view of it."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name = name
        self.tracker = tracker
        self._has_failed = False

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Offers every step, also after a failure: what was away may be back."""
        try:
            self.tracker.log(step, metrics)
        except Exception as error:  # noqa: BLE001 - of another program; whatever it is, training goes on
            self._tell(f"did not take step {step}", error)

    def close(self) -> None:
        """Closes the tracker."""
        try:
            self.tracker.close()
        except Exception as error:  # noqa: BLE001 - as above
            self._tell("could not be closed", error)

    def _tell(self, what: str, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            _log.warning(
                "tracker %s %s, and further failures are not told: %s: %s. The run goes on; logs/train_log.jsonl has "
                "every step", self.name, what, type(error).__name__, keys.hide(str(error)),
            )  # fmt: skip


def check(name: str) -> None:
    """Raises `ConfigError` when `.env` contradicts itself, or with the command that installs a tracker's package.

    The package is an extra of the same name.
    """
    keys.refuse_conflicts()
    spec = importlib.util.find_spec(name)
    # A folder of that name in the working directory is found as well, as a package without a file.
    if spec is None or spec.origin is None:
        raise missing_extra(f"trackers: {name}", name, name)


def identity(file: Path, fresh: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Under what name a run is known elsewhere, and whether it was before: a resumed run goes on where it was.

    It is kept in the run's directory from the first time on.
    """
    if file.exists():
        return dict(json.loads(file.read_text(encoding="utf-8"))), True
    return dict(fresh), False


def keep_identity(file: Path, values: Mapping[str, Any]) -> None:
    """Writes the identity down, whole or not at all."""
    waiting = file.with_suffix(".tmp")
    waiting.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    waiting.replace(file)


def config_of(directory: Path) -> dict[str, Any]:
    """The resolved config of a run; empty where it has none yet."""
    import yaml

    file = directory / "config.yaml"
    if not file.exists():
        return {}
    text = file.read_text(encoding="utf-8")
    keys.refuse_in(text, str(file))
    return dict(yaml.safe_load(text) or {})
