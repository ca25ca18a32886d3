"""Reads runs, of living processes too, and imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whet.errors import RunError
from whet.runs.directory import RunDirectory
from whet.runs.files import read_json

_TAIL = 1 << 16


def state(run: RunDirectory) -> str:
    """running, finished, stopped or failed; `lost` when the process died without a word, else `unknown`."""
    try:
        recorded = str(run.summary().get("state", "unknown"))
    except RunError:
        return "unknown"
    return "lost" if recorded == "running" and not run.is_locked else recorded


def config(run: RunDirectory) -> dict[str, Any]:
    """The resolved config as plain data; empty when there is none."""
    import yaml

    if not run.config.exists():
        return {}
    try:
        return dict(yaml.safe_load(run.config.read_text()) or {})
    except (yaml.YAMLError, ValueError) as error:
        raise RunError(f"{run.config} is not a config: {error}") from error


def metrics(run: RunDirectory) -> list[dict[str, Any]]:
    """The metrics of every logged step."""
    return list(read_jsonl(run.train_log))


def rollouts(run: RunDirectory) -> Iterator[dict[str, Any]]:
    """The logged rollouts, one by one: there may be millions."""
    return read_jsonl(run.rollouts_log)


def evaluations(run: RunDirectory) -> dict[str, dict[int, dict[str, Any]]]:
    """The metrics of every evaluation, by task and step."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for file in sorted(run.evals.glob("*/step_*/metrics.json")):
        step = file.parent.name.removeprefix("step_")
        if step.isdecimal():
            found.setdefault(file.parent.parent.name, {})[int(step)] = read_json(file)
    return found


def overview(run: RunDirectory) -> dict[str, Any]:
    """One row of a table of runs. Reads the end of the log only.

    `max_steps` is where the run really ends, epochs and resumes counted in, once it has begun. `accuracy` is the
    pass@1 on `eval_split` of the evaluation after the run, or of the one before while there is no other.
    """
    last = last_metrics(run)
    settings: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    try:
        summary, settings = run.summary(), config(run)
        why = summary.get("why", "")
    except RunError as error:
        why = str(error)
    evals = summary.get("eval", {})
    return {
        "name": run.name,
        "path": str(run.path),
        "state": state(run),
        "why": why,
        "task": _name(settings.get("task")),
        "algorithm": "sft" if settings.get("stage") == "sft" else _name(settings.get("algorithm")),
        "step": last.get("step"),
        "max_steps": summary.get("max_steps", settings.get("max_steps")),
        "reward": last.get("reward/mean"),
        "accuracy": (evals.get("after") or evals.get("before") or {}).get("pass@1"),
        "eval_split": summary.get("eval_split"),
    }


def last_metrics(run: RunDirectory) -> dict[str, Any]:
    """The metrics of the last logged step; empty when there is none. An evaluation at its end is left out."""
    records = _tail(run.train_log)
    trained = (r for r in reversed(records) if "completions/mean_length" in r)
    return next(trained, records[-1] if records else {})


def metrics_of(run: RunDirectory, step: int) -> dict[str, Any]:
    """The metrics of one step; empty when it was not logged. Reads the log up to there."""
    return next((r for r in read_jsonl(run.train_log) if r.get("step") == step), {})


def last_rollouts(run: RunDirectory, count: int) -> list[dict[str, Any]]:
    """Some rollouts of the last step, evenly spread over the end of the log: whole lines of its last 64 KiB."""
    records = _tail(run.rollouts_log)
    return _spread([r for r in records if r.get("step") == records[-1].get("step")], count)


def rollouts_of(run: RunDirectory, step: int, count: int) -> list[dict[str, Any]]:
    """Some rollouts of one step, evenly spread over it. Reads the whole log."""
    return _spread([r for r in rollouts(run) if r.get("step") == step], count)


def _spread(records: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return [records[i * len(records) // count] for i in range(min(count, len(records)))]


def _tail(path: Path) -> list[dict[str, Any]]:
    """The records that lie whole in the last part of a file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL))
        whole = file.read().split(b"\n")[:-1]
    return [record for line in whole if (record := _record(line)) is not None]


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file; none when it does not exist.

    The last line may be torn: a process was killed, or is writing it now. It is left out. Any other line that
    is not an object raises `RunError` with its number.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            record = _record(line) if line.endswith(b"\n") else None
            if record is not None:
                yield record
            elif file.read(1):
                raise RunError(f"{path}, line {number}: expected a JSON object, found {line[:80]!r}")


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _name(settings: Any) -> Any:
    return settings.get("name") if isinstance(settings, dict) else settings
