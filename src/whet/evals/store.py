"""Keeps an evaluation in its directory: records as they come, metrics at the end, and resumes what was cut
off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from whet.evals import records
from whet.evals.evaluate import EvalPlan, EvalResult, evaluate
from whet.evals.metrics import to_json
from whet.interfaces import Engine, Policy
from whet.runs import lock
from whet.runs.files import encode_json, replace_file


def evaluate_into(
    directory: Path,
    policy: Policy,
    engine: Engine,
    plan: EvalPlan,
    should_stop: Callable[[], bool] = lambda: False,
) -> EvalResult:
    """Evaluates into `records.jsonl` and `metrics.json` of a directory.

    An evaluation of the same weights and settings that lies there is continued, or taken as it is; any other
    is replaced. Raises `RunError` while another process evaluates into the directory.
    """
    file = directory / "records.jsonl"

    def attempt() -> EvalResult:
        done = records.read(file)
        return evaluate(policy, engine, plan, should_stop, lambda new: records.append(file, new), done)

    directory.mkdir(parents=True, exist_ok=True)
    with lock.hold(directory):
        try:
            result = attempt()
        except records.StaleRecords:
            file.unlink()
            result = attempt()
        write_metrics(directory / "metrics.json", plan, result)
    return result


def write_metrics(path: Path, plan: EvalPlan, result: EvalResult) -> None:
    """Writes the metrics with what is needed to read them: task, split, settings, weights, overlap."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "task": plan.task.model_dump(mode="json"),
        "split": plan.config.split,
        "problems": len(plan.examples),
        "num_samples": plan.config.num_samples,
        "temperature": plan.config.temperature,
        "seed": plan.seed,
        "weights_hash": result.records[0].weights_hash,
        "overlap": result.overlap,
        "metrics": to_json(result.metrics),
    }
    replace_file(path, encode_json(content))
