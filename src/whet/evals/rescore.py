"""Scores stored completions again: the same text must get the same verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from whet.evals.records import EvalRecord, StaleRecords, sample_keys
from whet.interfaces import Task
from whet.rollouts.episodes import episode_seed, replay
from whet.rollouts.score import score_text
from whet.types import Example, Score


@dataclass(frozen=True, slots=True)
class Rescored:
    """Records with new scores."""

    records: tuple[EvalRecord, ...]
    changed: tuple[tuple[EvalRecord, EvalRecord], ...]
    """Before and after, where value, status, detail or parts differ."""


def rescore(records: Sequence[EvalRecord], task: Task, examples: Sequence[Example]) -> Rescored:
    """What the task says today of the stored texts, those of an episode one after another.

    Raises `StaleRecords` when a problem is not among the examples, or is asked in other words.
    """
    known = {example.id: example for example in examples}
    new = []
    for record in records:
        example = known.get(record.problem)
        if example is None or example.prompt != record.prompt:
            what = "is not there" if example is None else "has another prompt"
            raise StaleRecords(
                f"problem {record.problem!r} of the records {what} in {task.name}: nothing to score by"
            )
        new.append(dataclasses.replace(record, score=_score(record, task, example)))
    changed = [(old, now) for old, now in zip(records, new, strict=True) if not _same(old.score, now.score)]
    return Rescored(tuple(new), tuple(changed))


def _score(record: EvalRecord, task: Task, example: Example) -> Score:
    """An episode is played again with its answers; its seed is that of the evaluation."""
    if not record.answers and not task.has_turns:
        return score_text(task, example, record.text)
    if not record.answers or not task.has_turns:
        had, has = ("an episode", "no turns") if record.answers else ("one completion", "turns")
        raise StaleRecords(f"problem {record.problem!r} of the records was {had}, and {task.name} has {has}")
    seed = episode_seed(sample_keys(record.sampling["seed"], example, 1)[0])
    return replay(task, example, seed, record.answers, record.finish_reason)


def _same(a: Score, b: Score) -> bool:
    """Equality in which two failures, both NaN, may be equal."""
    values = a.value == b.value or (math.isnan(a.value) and math.isnan(b.value))
    return values and (dict(a.parts), a.status, a.detail) == (dict(b.parts), b.status, b.detail)
