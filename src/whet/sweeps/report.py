"""The result of a sweep as tables: for the console, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whet.evals.compare import METRICS
from whet.evals.report import number, table
from whet.functional.statistics import Interval
from whet.runs.files import encode_json, replace_file
from whet.sweeps.results import MemberResult, SettingResult, SweepResult

_HEADER = ("setting", "runs", *METRICS, "reward, start -> end", "wall s")
_DIFFERENCES = ("difference to the first", "value", "95% interval", "seeds", "problems", "")


def title(result: SweepResult) -> str:
    """The sweep, what it was evaluated on, and whether that was trained on."""
    places = dict.fromkeys(f"{s.task} {s.split}" for s in result.settings)
    warning = ": accuracy ON TRAINING DATA (eval.split: train), not held out" if result.trained_on else ""
    return f"{result.name}, {' / '.join(places)}{warning}"


def sweep_text(result: SweepResult) -> str:
    """For the console: a line per setting, differences to the highest, failed runs, and what can be concluded."""
    text = f"{title(result)}\n" + table("", _HEADER, _rows(result))
    if result.differences:
        text += table("", _DIFFERENCES, _difference_rows(result))
    return text + "".join(f"{line}\n" for line in [*_failures(result), conclusion(result)])


def sweep_markdown(result: SweepResult) -> str:
    """The same as Markdown."""
    parts = [f"# {title(result)}", _markdown(_HEADER, _rows(result))]
    if result.differences:
        parts.append(_markdown(_DIFFERENCES, _difference_rows(result)))
    parts += [*(f"- {line}" for line in _failures(result)), conclusion(result), f"_{_METHOD}_"]
    return "\n\n".join(parts) + "\n"


def conclusion(result: SweepResult) -> str:
    """Which setting is best, or why none can be called that."""
    if len(result.ranked) < 2:
        return "Fewer than two settings have an evaluation: there is nothing to compare."
    first, second = result.ranked[:2]
    if result.best:
        return f"Best by {result.metric}: {first}. Its 95% interval of the difference to {second} excludes 0."
    if (comparison := result.differences.get(second)) is None:
        return f"No best setting: {first} and {second} have no seed or no problem in common."
    if comparison.seeds < 2:
        return f"No best setting: with one seed, {first} over {second} may be the luck of that seed."
    return f"No best setting: {first} and {second} are not separated."


def plain(result: SweepResult) -> dict[str, Any]:
    """Everything as plain data."""
    return {
        "name": result.name,
        "directory": str(result.directory),
        "on_training_data": result.trained_on,
        "metric": result.metric,
        "best": result.best,
        "ranked": list(result.ranked),
        "conclusion": conclusion(result),
        "method": _METHOD,
        "settings": [_plain_setting(s) for s in result.settings],
        "differences": {
            label: {"value": c.difference.mean, **_ends(c.difference), "separated": c.separated}
            | {"seeds": c.seeds, "problems": c.problems}
            for label, c in result.differences.items()
        },
    }


def write(result: SweepResult) -> dict[str, Path]:
    """Writes results.json, results.md, settings.csv and runs.csv into the sweep; where each one lies."""
    files = {n: result.directory / n for n in ("results.json", "results.md", "settings.csv", "runs.csv")}
    replace_file(files["results.json"], encode_json(plain(result)))
    replace_file(files["results.md"], sweep_markdown(result).encode())
    _write_csv(files["settings.csv"], [_flat_setting(s, result) for s in result.settings])
    _write_csv(files["runs.csv"], [_plain_member(m) for s in result.settings for m in s.members])
    return files


_METHOD = (
    "Accuracy: mean over seeds and problems, Wilson's 95% interval with the error of seeds and of problems both "
    "(two-way random effects, degrees of freedom by Satterthwaite). Differences are paired by seed and problem. "
    "One seed: over problems alone. Reward: mean over the first and the last tenth of the steps."
)


def _rows(result: SweepResult) -> list[tuple[str, ...]]:
    return [_row(setting, setting.label == result.best) for setting in result.settings]


def _row(setting: SettingResult, is_best: bool) -> tuple[str, ...]:
    start, end, wall = (setting.mean(n) for n in ("reward_start", "reward_end", "wall_s"))
    return (
        setting.label + ("  (best)" if is_best else ""),
        f"{len(setting.finished)}/{len(setting.members)}",
        *(_spell(setting.metrics.get(name)) for name in METRICS),
        "" if start is None or end is None else f"{number(start)} -> {number(end)}",
        "" if wall is None else f"{wall:.0f}",
    )


def _difference_rows(result: SweepResult) -> list[tuple[str, ...]]:
    first = result.ranked[0]
    return [
        (
            f"{first} - {label}",
            f"{c.difference.mean:+.4f}",
            f"{number(c.difference.low)} .. {number(c.difference.high)}",
            str(c.seeds),
            str(c.problems),
            "separated" if c.separated else "not separated",
        )
        for label, c in result.differences.items()
    ]


def _failures(result: SweepResult) -> list[str]:
    return [f"{m.setting}, seed {m.seed}: {m.error}" for m in result.failed]


def _spell(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{number(interval.mean)} [{number(interval.low)}, {number(interval.high)}]"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells)


def _plain_setting(setting: SettingResult) -> dict[str, Any]:
    return {
        "setting": setting.label,
        "eval_task": setting.task,
        "eval_split": setting.split,
        "runs": len(setting.members),
        "finished": len(setting.finished),
        "metrics": {n: {"mean": i.mean, **_ends(i)} for n, i in setting.metrics.items()},
        **{n: setting.mean(n) for n in ("reward_start", "reward_end", "wall_s")},
        "members": [_plain_member(m) for m in setting.members],
    }


def _flat_setting(setting: SettingResult, result: SweepResult) -> dict[str, Any]:
    """One line of CSV."""
    facts = _plain_setting(setting)
    del facts["members"], facts["metrics"]
    for name in METRICS:
        interval = setting.metrics.get(name)
        low_high = _ends(interval) if interval else {"low": None, "high": None}
        facts |= {name: interval and interval.mean} | {f"{name}_{k}": v for k, v in low_high.items()}
    return {**facts, "best": setting.label == result.best}


def _plain_member(member: MemberResult) -> dict[str, Any]:
    facts = {n: getattr(member, n) for n in ("setting", "seed", "error", "run", "wall_s")}
    rewards = {n: getattr(member, n) for n in ("reward_start", "reward_end")}
    return {**facts, **rewards, **{name: member.accuracy(name) for name in METRICS}}


def _ends(interval: Interval) -> dict[str, float | None]:
    """Null where one problem alone says nothing."""
    ends = {"low": interval.low, "high": interval.high}
    return {name: end if math.isfinite(end) else None for name, end in ends.items()}


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, fieldnames=list(rows[0]))
        lines.writeheader()
        lines.writerows(rows)
