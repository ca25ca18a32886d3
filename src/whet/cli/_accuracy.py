"""The held-out accuracy of a run, before and after, as its summary tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.cli._output import columns, percent

_KINDS = (("sampled", "pass@1", "ci95"), ("greedy", "greedy", "greedy_ci95"))


def accuracy(summary: Mapping[str, Any]) -> str:
    """A small table with 95% intervals; empty when nothing was evaluated."""
    evals = summary.get("eval", {})
    times = [time for time in ("before", "after") if time in evals]
    rows = []
    for label, value, ends in _KINDS:
        cells = [percent(evals[t][value], evals[t][ends]) if value in evals[t] else "" for t in times]
        if any(cells):
            rows.append(("  " + label, *cells))
    if not rows:
        return ""
    task, split = summary.get("eval_task", "task"), summary.get("eval_split", "test")
    problems = evals[times[-1]].get("n")
    title = f"right answers, {task} {split}" + (f", {problems} problems" if problems else "")
    overlap = evals[times[-1]].get("overlap")
    note = f"\n  {overlap} of the questions were trained on" if overlap else ""
    return f"{title}, with 95% intervals\n" + columns([("", *times), *rows]) + note
