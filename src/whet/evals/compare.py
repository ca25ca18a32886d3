"""Two evaluations of the same problems: which is better, by how much, and is it more than chance?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from whet.errors import DataError
from whet.evals.records import EvalRecord
from whet.functional.statistics import Interval, paired_difference

METRICS = (("pass@1", False), ("greedy", True))
"""Compared metrics, and whether they come from the greedy pass."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of two evaluations on the problems that both have."""

    metric: str
    a: float
    b: float
    difference: Interval
    """b - a over paired problems."""
    unpaired: int
    """Problems that only one of the two has (with a score); they are left out."""

    @property
    def separated(self) -> bool:
        """Whether the 95% interval of the difference excludes zero."""
        return self.difference.excludes_zero

    def __str__(self) -> str:
        d = self.difference
        verdict = "separated" if self.separated else "not separated"
        return (
            f"{self.metric}: {self.a:.4f} -> {self.b:.4f}, difference {d.mean:+.4f} "
            f"[{d.low:+.4f}, {d.high:+.4f}] on {d.n} problems, {verdict}"
        )


def compare(a: Sequence[EvalRecord], b: Sequence[EvalRecord], threshold: float = 1.0) -> list[Comparison]:
    """The differences b - a in `pass@1` (sampled) and `greedy`, where both evaluations have them.

    Problems are paired by id. Raises `DataError` when the two share no problem, or ask one in different
    words.
    """
    prompts = {r.problem: r.prompt for r in a}
    for record in b:
        if prompts.get(record.problem, record.prompt) != record.prompt:
            raise DataError(f"problem {record.problem!r} has two prompts: these are not the same problems")
    rates = [(name, _rates(a, greedy, threshold), _rates(b, greedy, threshold)) for name, greedy in METRICS]
    found = [_compare(*three) for three in rates if three[1].keys() & three[2].keys()]
    if not found:
        raise DataError("the two evaluations have no scored problem in common")
    return found


def _compare(name: str, a: dict[str, float], b: dict[str, float]) -> Comparison:
    common = sorted(a.keys() & b.keys())
    first, second = [a[p] for p in common], [b[p] for p in common]
    difference = paired_difference(second, first, common)
    count = len(common)
    return Comparison(
        name, math.fsum(first) / count, math.fsum(second) / count, difference, len(a.keys() ^ b.keys())
    )


def _rates(records: Sequence[EvalRecord], greedy: bool, threshold: float) -> dict[str, float]:
    """The share of right completions by problem."""
    hits: dict[str, list[bool]] = {}
    for record in records:
        if record.greedy == greedy and record.score.ok:
            hits.setdefault(record.problem, []).append(record.score.value >= threshold)
    return {problem: sum(h) / len(h) for problem, h in hits.items()}
