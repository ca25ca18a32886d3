"""What a run ran on: enough to run it again, and nothing secret: no environment variable, no key in an argument."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from whet import keys

_PACKAGES = ("whet", "torch", "transformers", "tokenizers", "safetensors", "peft", "numpy", "pydantic")
_GIT_TIMEOUT_S = 5


def describe(seed: int, device: str) -> dict[str, Any]:
    """Command, versions, hardware, git commit of the working directory and seed, ready for JSON."""
    return {
        "command": [keys.hide_argument(argument) for argument in sys.argv],
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": seed,
        "device": device,
        "cpu": {"model": _cpu_model(), "cores": os.cpu_count()},
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "git": git_state(Path.cwd()),
    }


def versions() -> dict[str, str]:
    """The installed versions of the libraries that decide a run's numbers."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(directory: Path) -> dict[str, Any] | None:
    """The commit, and whether files differ from it or are unknown to it; None outside a repository."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": _git(directory, "status", "--porcelain") != ""}


def _git(directory: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *command], capture_output=True, text=True, timeout=_GIT_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())
