"""Where a step's wall time goes, and how much memory the run has taken."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


class Timer:
    """Seconds by part of the step: `with timer("rollout")`."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] = self._seconds.get(part, 0.0) + time.perf_counter() - started

    def metrics(self, of: Mapping[str, float]) -> dict[str, float]:
        """`time/<part>_s` since the last call, and sampled tokens per second over rollout and update together."""
        seconds, self._seconds = self._seconds, {}
        timed = {f"time/{part}_s": value for part, value in seconds.items()}
        step = seconds.get("rollout", 0.0) + seconds.get("annotate", 0.0) + seconds.get("update", 0.0)
        timed["time/step_s"] = step
        if "completions/tokens" in of and step:
            timed["perf/tokens_per_s"] = of["completions/tokens"] / step
        return timed


def peak_memory_gb(device: torch.device) -> float:
    """The most memory held at once so far, in units of 10^9 bytes: of the accelerator, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
