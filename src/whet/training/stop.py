"""Why a run ends: a signal, a condition on a metric, or nothing left to learn from."""

from __future__ import annotations

import operator
import re
import signal
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Self

from whet.errors import ConfigError

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"\s*(?P<metric>\S+)\s*(?P<sign>>=|<=|>|<)\s*(?P<bound>[-+.\deE]+)\s*")


class StopSignal:
    """True once Ctrl-C or SIGTERM has arrived. The second one ends the process at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, object] = {}

    def __call__(self) -> bool:
        return self.number is not None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._arrived)
            except ValueError:  # not in the main thread: whoever runs it there handles signals
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._restore()

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}


class Condition:
    """A bound on a metric, such as `eval/pass@1 >= 0.95`. `eval/<metric>` means the run's evaluation task."""

    def __init__(self, text: str) -> None:
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise ConfigError(f"stop.when: expected `metric >= number` (or <=, >, <), found {text!r}")
        self.text = text
        self._metric = match["metric"]
        self._holds = _COMPARE[match["sign"]]
        try:
            self._bound = float(match["bound"])
        except ValueError:
            raise ConfigError(f"stop.when: {match['bound']!r} is not a number") from None

    def holds(self, metrics: Mapping[str, float], eval_task: str) -> bool:
        """Whether the metric is there and within the bound."""
        long_name = re.sub(r"^eval/(?=[^/]+$)", f"eval/{eval_task}/", self._metric)
        value = metrics.get(self._metric, metrics.get(long_name))
        return value is not None and self._holds(value, self._bound)
