"""Progress for a person: one live line on a terminal, one plain line a step anywhere else."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from whet.tracking.open import RunView

_COLUMNS = (
    ("reward", "reward/mean", "6.3f"),
    ("nll", "loss/nll", "6.3f"),
    ("length", "completions/mean_length", "6.1f"),
    ("tokens/s", "perf/tokens_per_s", "7,.0f"),
)
_EVALUATED = ("pass@1", "greedy", "/nll")
_BARS = "▁▂▃▄▅▆▇█"
_RECENT = 20
_HISTORY = 40


class Console:
    """Shows step, reward, length, tokens per second, time to go, and each evaluation."""

    def __init__(
        self,
        max_steps: int | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_steps = max_steps
        self._stream = stream or sys.stdout
        self._clock = clock
        self._times: deque[tuple[int, float]] = deque(maxlen=_RECENT)
        self._rewards: deque[float] = deque(maxlen=_HISTORY)
        self._live: Any = None

    @classmethod
    def open(cls, run: RunView) -> Self:
        """Progress towards the run's last step, on the standard output, after a line that says where the run is."""
        print(f"run {run.directory}", flush=True)
        return cls(run.max_steps)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows one step."""
        self._times.append((step, self._clock()))
        if "reward/mean" in metrics:
            self._rewards.append(metrics["reward/mean"])
        line = "  ".join([self._position(step), *_numbers(metrics), *self._time_to_go(step)])
        if self._stream.isatty():
            self._show(step, line, evaluated=bool(_evaluations(metrics)))
        else:
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _position(self, step: int) -> str:
        total = "" if self._max_steps is None else f"/{self._max_steps}"
        return f"step {step:>{max(4, len(total) - 1)}}{total}"

    def _time_to_go(self, step: int) -> list[str]:
        """From the mean of the last steps; nothing before there are two."""
        first_step, first_time = self._times[0]
        if self._max_steps is None or step <= first_step:
            return []
        per_step = (self._times[-1][1] - first_time) / (step - first_step)
        return [f"eta {timedelta(seconds=round(per_step * max(0, self._max_steps - step)))}"]

    def _show(self, step: int, line: str, evaluated: bool) -> None:
        from rich.console import Console as Screen
        from rich.console import Group
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        if self._live is None:
            self._live = Live(console=Screen(file=self._stream), auto_refresh=False)
            self._live.start()
        parts: list[Any] = [Text(f"{line}  {sparkline(self._rewards)}", no_wrap=True)]
        if self._max_steps is not None:
            parts.append(ProgressBar(total=self._max_steps, completed=step, width=60))
        if evaluated:  # stays above the live line
            self._live.console.print(Text(line))
        self._live.update(Group(*parts), refresh=True)


def sparkline(values: deque[float]) -> str:
    """Eight heights between the smallest and the largest value; the lowest bar when all are equal."""
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in values)


def _numbers(metrics: Mapping[str, float]) -> list[str]:
    shown = [f"{label} {metrics[key]:{spec}}" for label, key, spec in _COLUMNS if key in metrics]
    shown += _evaluations(metrics)
    return shown or [f"{key} {value:.4g}" for key, value in list(metrics.items())[:4]]


def _evaluations(metrics: Mapping[str, float]) -> list[str]:
    """The accuracies of whole evaluations; those of single tags are in the log."""
    kept = [k for k in metrics if k.startswith("eval/") and "/tag/" not in k and k.endswith(_EVALUATED)]
    return [f"{k} {metrics[k]:.3f}" for k in kept]
