"""`whet runs`: every run, oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.cli._options import Json, RunsRoot


def command(runs_root: RunsRoot = "runs", json: Json = False) -> None:
    """List the runs."""
    from whet.cli._output import columns, print_json
    from whet.runs import reader
    from whet.runs.directory import list_runs

    rows = [reader.overview(run) for run in list_runs(runs_root)]
    if json:
        print_json(rows)
    elif not rows:
        print(f"no runs in {runs_root}; `whet train arithmetic` makes one")
    else:
        header = ("run", "state", "task", "algorithm", "step", "reward", "accuracy")
        print(columns([header, *map(_row, rows)]))


def _row(run: Mapping[str, Any]) -> tuple[str, ...]:
    end = "" if run["max_steps"] is None else f"/{run['max_steps']}"
    return (
        run["name"],
        run["state"],
        run["task"] or "",
        run["algorithm"] or "",
        "" if run["step"] is None else f"{run['step']}{end}",
        "" if run["reward"] is None else f"{run['reward']:.3f}",
        _accuracy(run),
    )


def _accuracy(run: Mapping[str, Any]) -> str:
    if run["accuracy"] is None:
        return ""
    return f"{run['accuracy']:.1%}" + (" on training data" if run["eval_split"] == "train" else "")
