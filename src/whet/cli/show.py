"""`whet show`: how a run stands and what it learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli._options import Json, RunName, RunsRoot

if TYPE_CHECKING:
    from whet.runs.directory import RunDirectory

_SHOWN = (
    "reward/mean",
    "reward/std",
    "completions/mean_length",
    "completions/truncated_frac",
    "policy/entropy",
    "policy/kl_ref",
    "optim/grad_norm",
    "perf/tokens_per_s",
)


def command(
    run: RunName,
    rollouts: Annotated[int, typer.Option(min=0, help="How many rollouts of the last step to show.")] = 4,
    runs_root: RunsRoot = "runs",
    json: Json = False,
) -> None:
    """Show the state, accuracy, rollouts and files of a run.

    Of RUN:120 the metrics and rollouts of that step.
    """
    from whet.cli._output import print_json
    from whet.runs.directory import resolve

    directory, which = resolve(run, runs_root)
    facts = _facts(directory, which, rollouts)
    if json:
        print_json(facts)
    else:
        print("\n\n".join(part for part in _parts(facts) if part))


def _facts(run: RunDirectory, which: str | None, rollouts: int) -> dict[str, Any]:
    from whet.runs import checkpoint, reader

    step = None if which is None else checkpoint.manifest(run.checkpoint(which)).step
    summary = run.summary()
    files = {"config": run.config, "log": run.train_log, "rollouts": run.rollouts_log, "plots": run.plots}
    evaluations = {
        name: {
            str(step): {k: content["metrics"].get(k) for k in ("pass@1", "greedy")}
            for step, content in steps.items()
        }
        for name, steps in reader.evaluations(run).items()
    }
    return {
        **reader.overview(run),
        "summary": summary,
        "metrics": reader.last_metrics(run) if step is None else reader.metrics_of(run, step),
        "checkpoints": [path.name for path in checkpoint.steps(run.training_state)],
        "evaluations": evaluations,
        "rollouts": reader.last_rollouts(run, rollouts)
        if step is None
        else reader.rollouts_of(run, step, rollouts),
        "files": {name: str(path) for name, path in files.items() if path.exists()},
    }


def _parts(facts: Mapping[str, Any]) -> list[str]:
    from whet.cli._accuracy import accuracy

    return [
        _headline(facts),
        accuracy(facts["summary"]),
        _metrics(facts["metrics"]),
        _rollouts(facts["rollouts"]),
        _files(facts),
    ]


def _headline(facts: Mapping[str, Any]) -> str:
    from whet.cli._output import duration

    summary = facts["summary"]
    why = f" ({facts['why']})" if facts["why"] else ""
    end = facts["max_steps"]
    words = [
        f"task {facts['task']}",
        f"algorithm {facts['algorithm']}",
        f"seed {summary.get('seed')}",
        f"step {facts['step'] or 0} of {end}",
    ]
    if "wall_s" in summary:
        words.append(duration(summary["wall_s"]))
    return f"{facts['name']}: {facts['state']}{why}\n{', '.join(words)}"


def _metrics(metrics: Mapping[str, Any]) -> str:
    from whet.cli._output import columns

    parts = (n for n in metrics if n.startswith("reward/") and n.endswith("/mean") and n not in _SHOWN)
    shown = [*_SHOWN[:1], *parts, *_SHOWN[1:]]
    rows = [(name, f"{metrics[name]:.4g}") for name in shown if metrics.get(name) is not None]
    return f"step {metrics['step']}\n" + columns(rows, "  ") if rows else ""


def _rollouts(rollouts: list[dict[str, Any]]) -> str:
    from whet.cli._output import columns, short

    rows = [
        (
            "failed" if r["reward"] is None else f"{r['reward']:.2f}",
            short(repr(r["prompt"])),
            "->",
            short(repr(r["text"])),
            f"answer {short(repr(r['answer']))}" + (f", {r['detail']}" if r["detail"] else ""),
        )
        for r in rollouts
    ]
    return (
        f"rollouts of step {rollouts[0]['step']}, with their rewards\n" + columns(rows, "  ") if rows else ""
    )


def _files(facts: Mapping[str, Any]) -> str:
    from whet.cli._output import columns

    rows = [("checkpoints", " ".join(facts["checkpoints"]) or "none")]
    rows += [("evaluations", f"{name}: steps {' '.join(s)}") for name, s in facts["evaluations"].items()]
    return columns([*rows, *facts["files"].items()])
