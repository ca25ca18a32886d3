"""Loads the policy of a checkpoint, whatever kind it is."""

from pathlib import Path
from typing import Any, cast

import torch

from whet import registry
from whet.errors import ConfigError, RunError
from whet.interfaces import Policy
from whet.registry import Plugin
from whet.runs.files import read_json

MODEL = "model"
"""Directory of the policy inside a checkpoint."""


def load_policy(model: Path, device: torch.device, asked: Plugin | None = None) -> Policy:
    """The policy saved in a directory; its policy.json names the kind. asked: see `settings_at`."""
    settings = settings_at(model, asked)
    kind = _kind(model)
    return cast(Policy, kind.load(model, device) if settings is None else kind.load(model, device, settings))


def settings_at(model: Path, asked: Plugin | None) -> Plugin | None:
    """The settings of a saved policy, run as asked where that does not change what it is; None where it has none."""
    kind = _kind(model)
    return cast(Plugin, kind.saved(model).run_as(asked)) if hasattr(kind, "saved") else None


def _kind(model: Path) -> Any:
    file = model / "policy.json"
    if not file.is_file():
        raise RunError(f"{model} holds no policy: {file.name} is missing")
    return registry.load("policies", read_json(file)["policy"])


def has_adapter(policy: Policy) -> bool:
    """Whether the policy is an adapter over a base; then `merged()` gives a plain model."""
    return getattr(getattr(policy, "settings", None), "lora", None) is not None


def set_threads(count: int | None) -> None:
    """Gives torch that many CPU threads, which decide the last bits of its sums; None leaves it its own choice."""
    if count is not None:
        torch.set_num_threads(count)


def pick_device(name: str) -> torch.device:
    """The device of this name, or a `ConfigError`; `auto` takes an accelerator when there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"device: expected auto, cpu or the name of an accelerator of this machine, found {name!r} ({reason})"
        ) from error
