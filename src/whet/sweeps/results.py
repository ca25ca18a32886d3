"""What the runs of a sweep say together: accuracy of each setting, and whether the best one is more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.errors import DataError
from whet.evals import records
from whet.evals.compare import METRICS, Comparison, Rates, accuracy, compare, rates
from whet.functional.statistics import Interval
from whet.runs import reader
from whet.runs.directory import RunDirectory
from whet.sweeps.definition import Definition, Setting
from whet.sweeps.members import Member, members_of

_ENDS = 10
"""The reward at the start and at the end is the mean over this part (1/10) of the steps, at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberResult:
    """One run: how it stands, and what it reached."""

    setting: str
    seed: int
    run: str
    """Path; empty without a run."""
    error: str
    """Empty when it is finished."""
    wall_s: float | None = None
    reward_start: float | None = None
    reward_end: float | None = None
    rates: Mapping[str, Rates]
    """By metric, of the evaluation after training."""

    @property
    def ok(self) -> bool:
        """Whether it is finished."""
        return not self.error

    def accuracy(self, metric: str) -> float | None:
        """The mean over its problems."""
        found = self.rates.get(metric)
        return sum(found.values()) / len(found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingResult:
    """One setting, its finished runs pooled."""

    label: str
    task: str
    split: str
    members: tuple[MemberResult, ...]
    metrics: Mapping[str, Interval]

    @property
    def finished(self) -> tuple[MemberResult, ...]:
        """Its finished runs."""
        return tuple(m for m in self.members if m.ok)

    def mean(self, name: str) -> float | None:
        """The mean of `wall_s`, `reward_start` or `reward_end` over its finished runs."""
        values = [v for m in self.finished if (v := getattr(m, name)) is not None]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """A sweep as far as it has come."""

    name: str
    directory: Path
    settings: tuple[SettingResult, ...]
    """In the order of the definition."""
    metric: str | None
    """What settings are ranked by: pass@1, else greedy; None where nothing was evaluated."""
    ranked: tuple[str, ...]
    """The labels, highest first."""
    differences: Mapping[str, Comparison]
    """The first of `ranked` minus each other one, as far as they have problems in common."""

    @property
    def best(self) -> str | None:
        """The setting that is better than the runner-up by more than chance; None where none is."""
        if len(self.ranked) < 2 or (second := self.differences.get(self.ranked[1])) is None:
            return None
        return self.ranked[0] if second.separated else None

    @property
    def trained_on(self) -> bool:
        """Whether accuracies are those on training data."""
        return any(s.split == "train" for s in self.settings)

    @property
    def failed(self) -> list[MemberResult]:
        """The members that are not finished."""
        return [m for s in self.settings for m in s.members if not m.ok]


def result_of(definition: Definition, directory: Path) -> SweepResult:
    """Reads what the members have reached."""
    members = members_of(definition, directory)
    settings = tuple(_setting(s, [m for m in members if m.setting is s]) for s in definition.settings)
    metric = next((n for n in METRICS if any(n in s.metrics for s in settings)), None)
    ranked = sorted((s for s in settings if metric in s.metrics), key=lambda s: -s.metrics[str(metric)].mean)
    found = {s.label: c for s in ranked[1:] if (c := _difference(ranked[0], s, str(metric))) is not None}
    return SweepResult(
        name=directory.name,
        directory=directory,
        settings=settings,
        metric=metric,
        ranked=tuple(s.label for s in ranked),
        differences=found,
    )


def _setting(setting: Setting, members: Sequence[Member]) -> SettingResult:
    found = tuple(_member(m) for m in members)
    ready = [m for m in found if m.ok]
    metrics = {n: accuracy([m.rates[n] for m in ready if n in m.rates]) for n in METRICS}
    config = setting.config
    return SettingResult(
        label=setting.label,
        task=(config.eval.task or config.task).name,
        split=config.eval.split,
        members=found,
        metrics={name: interval for name, interval in metrics.items() if interval is not None},
    )


def _member(member: Member) -> MemberResult:
    run, error = member.run, member.error
    facts: dict[str, Any] = {"setting": member.setting.label, "seed": member.seed, "error": error}
    if run is None:
        return MemberResult(**facts, run="", rates={})
    rewards = [s["reward/mean"] for s in reader.metrics(run) if s.get("reward/mean") is not None]
    part = max(1, len(rewards) // _ENDS)
    if rewards:
        facts |= {"reward_start": _mean(rewards[:part]), "reward_end": _mean(rewards[-part:])}
    found = {} if error else _rates(run, member.setting)
    return MemberResult(**facts, run=str(run.path), wall_s=run.summary().get("wall_s"), rates=found)


def _rates(run: RunDirectory, setting: Setting) -> dict[str, Rates]:
    """Of the evaluation after training, whose records lie in the run."""
    summary = run.summary()
    if "after" not in summary.get("eval", {}):
        return {}
    directory = run.evaluation(summary["eval_task"], summary["steps"])
    kept = records.read(directory / "records.jsonl")
    every = {name: rates(kept, name, setting.config.eval.threshold) for name in METRICS}
    return {name: found for name, found in every.items() if found}


def _difference(a: SettingResult, b: SettingResult, metric: str) -> Comparison | None:
    """Over the seeds that both have; None where they have no problem in common."""
    pairs = [
        (x.rates[metric], y.rates[metric])
        for x, y in zip(a.members, b.members, strict=True)
        if metric in x.rates and metric in y.rates
    ]
    try:
        return compare([x for x, _ in pairs], [y for _, y in pairs])
    except DataError:
        return None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
