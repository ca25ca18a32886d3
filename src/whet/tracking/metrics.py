"""Metrics on their way: sums with counts, totals and maxima, so that parts of any size merge into one true value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class Metrics:
    """Named (sum, count) pairs and maxima. Merging micro-batches, updates or processes is never a mean of means."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}
        self._totals: dict[str, float] = {}
        self._maxima: dict[str, float] = {}

    def add(self, name: str, total: float, count: float = 1.0) -> None:
        """Adds `total` over `count` things; a count of 0 leaves no trace, nor does a total that is not finite."""
        if count and math.isfinite(total):
            old_total, old_count = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (old_total + total, old_count + count)

    def count(self, name: str, times: float = 1.0) -> None:
        """Counts something: the value is the total."""
        self._totals[name] = self._totals.get(name, 0.0) + times

    def maximum(self, name: str, value: float) -> None:
        """Keeps the largest finite value."""
        if math.isfinite(value):
            self._maxima[name] = max(value, self._maxima.get(name, value))

    def merge(self, other: Metrics) -> None:
        """Takes in another collection."""
        for name, (total, count) in other._sums.items():
            self.add(name, total, count)
        for name, value in other._totals.items():
            self.count(name, value)
        for name, value in other._maxima.items():
            self.maximum(name, value)

    def values(self) -> dict[str, float]:
        """The mean, total or maximum of every name."""
        means = {name: total / count for name, (total, count) in self._sums.items()}
        return dict(sorted((means | self._totals | self._maxima).items()))

    def state_dict(self) -> dict[str, Any]:
        """JSON-ready state; floats survive JSON bit for bit."""
        sums = {name: list(pair) for name, pair in self._sums.items()}
        return {"sums": sums, "totals": dict(self._totals), "maxima": dict(self._maxima)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Metrics:
        """The metrics that `state_dict` described."""
        metrics = cls()
        metrics._sums = {name: (total, count) for name, (total, count) in state["sums"].items()}
        metrics._totals = dict(state["totals"])
        metrics._maxima = dict(state["maxima"])
        return metrics
