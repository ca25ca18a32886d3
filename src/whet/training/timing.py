"""Where a step's wall time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


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
