"""whet sharpens language models with reinforcement learning on rewards that can be verified."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whet.api import (
        Generation,
        LoadedPolicy,
        Run,
        load_policy,
        open_run,
        show_prompt,
        task,
        train,
        verifier,
    )
    from whet.config import Config, load_config
    from whet.errors import ConfigError, DataError, RunError, WhetError
    from whet.interfaces import Algorithm, Probe, Task, Verifier
    from whet.turns import TurnTask
    from whet.types import Example, Score, Turn

__version__ = "0.2.0"

_HOME = {
    "whet.api": (
        "Generation",
        "LoadedPolicy",
        "Run",
        "load_policy",
        "open_run",
        "show_prompt",
        "task",
        "train",
        "verifier",
    ),
    "whet.config": ("Config", "load_config"),
    "whet.errors": ("ConfigError", "DataError", "RunError", "WhetError"),
    "whet.interfaces": ("Algorithm", "Probe", "Task", "Verifier"),
    "whet.turns": ("TurnTask",),
    "whet.types": ("Example", "Score", "Turn"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: RUF022 - in the order of the modules
    "Generation", "LoadedPolicy", "Run", "load_policy", "open_run", "show_prompt", "task", "train", "verifier",
    "Config", "load_config", "ConfigError", "DataError", "RunError", "WhetError",
    "Algorithm", "Probe", "Task", "Verifier", "TurnTask", "Example", "Score", "Turn",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used: `import whet` alone is quick."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'whet' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
