"""Two systems on the same problems, each evaluated once or with several seeds: which is better, by how much, and is it
more than chance?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whet.errors import DataError
from whet.evals.records import EvalRecord
from whet.functional.statistics import Interval, crossed_difference, crossed_interval

METRICS = ("pass@1", "greedy")
"""Compared metrics: the sampled pass and the one at temperature 0."""

Problem = tuple[str, str]
"""Id and prompt: a question in other words is another problem."""
Rates = Mapping[Problem, float]
"""The share of right completions by problem, of one evaluation."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of two systems on the problems that every evaluation of both has."""

    a: float
    b: float
    difference: Interval
    """a - b over paired problems and seeds."""
    seeds: int
    problems: int

    @property
    def separated(self) -> bool:
        """Whether the 95% interval of the difference excludes zero. One seed says nothing about others: never."""
        return self.seeds > 1 and self.difference.excludes_zero


def rates(records: Sequence[EvalRecord], metric: str, threshold: float = 1.0) -> dict[Problem, float]:
    """The rates of one evaluation, by problem; failures on our side are left out."""
    hits: dict[Problem, list[bool]] = {}
    for record in records:
        if record.greedy == (metric == "greedy") and record.score.ok:
            hits.setdefault((record.problem, record.prompt), []).append(record.score.value >= threshold)
    return {problem: sum(h) / len(h) for problem, h in hits.items()}


def accuracy(seeds: Sequence[Rates]) -> Interval | None:
    """The mean over seeds and problems, with an interval for other seeds and other problems; None without a problem
    that all seeds have.

    See `crossed_interval`. One seed: the interval is over problems alone.
    """
    problems = _common(seeds)
    return crossed_interval(_table(seeds, problems), proportion=True) if problems else None


def compare(a: Sequence[Rates], b: Sequence[Rates]) -> Comparison:
    """The difference a - b, seed by seed and problem by problem: what both share cancels.

    Raises `DataError` when the two have no problem in common.
    """
    problems = _common([*a, *b])
    if not problems:
        raise DataError("the evaluations have no problem in common: they cannot be compared")
    first, second = _table(a, problems), _table(b, problems)
    return Comparison(_mean(first), _mean(second), crossed_difference(first, second), len(a), len(problems))


def _common(seeds: Sequence[Rates]) -> list[Problem]:
    """The problems that all have, in one order."""
    return sorted(set.intersection(*(set(s) for s in seeds))) if seeds else []


def _table(seeds: Sequence[Rates], problems: Sequence[Problem]) -> list[list[float]]:
    return [[seed[problem] for problem in problems] for seed in seeds]


def _mean(rows: Sequence[Sequence[float]]) -> float:
    return math.fsum(x for row in rows for x in row) / (len(rows) * len(rows[0]))
