"""`whet eval`: how good a checkpoint is, or every checkpoint of a run."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli._options import Json, RunName, RunsRoot, in_section
from whet.errors import RunError

if TYPE_CHECKING:
    from whet.evals.checkpoint import Evaluation
    from whet.evals.evaluate import EvalResult
    from whet.evals.sweep import SweepRow
    from whet.runs.directory import RunDirectory


def command(
    run: RunName,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Other settings of `eval`, such as task.path=data/gsm8k."),
    ] = None,
    steps: Annotated[str | None, typer.Option(help="Several checkpoints: 1,5,final.")] = None,
    all_steps: Annotated[bool, typer.Option("--all-steps", help="Every checkpoint.")] = False,
    task: Annotated[str | None, typer.Option(help="Another task.")] = None,
    split: Annotated[str | None, typer.Option(help="train or test.")] = None,
    subset_frac: Annotated[float | None, typer.Option(help="This share of the problems, 0 to 1.")] = None,
    limit: Annotated[int | None, typer.Option(help="The first problems only.")] = None,
    num_samples: Annotated[int | None, typer.Option(help="Completions per problem.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the sampled completions.")] = None,
    greedy: Annotated[bool | None, typer.Option(help="Also one completion at temperature 0.")] = None,
    timeout_s: Annotated[float, typer.Option(help="For each of several checkpoints.")] = 1800.0,
    runs_root: RunsRoot = "runs",
    json: Json = False,
) -> None:
    """Measure a checkpoint of a run on held-out problems, or several.

    RUN is its latest checkpoint, RUN:120 another one. Each of several has a process of its own. What is not given is as
    in the run. Results are kept in the run, those of other settings in a directory of their own; what has been
    evaluated is not sampled again.
    """
    from whet.evals.checkpoint import Evaluation
    from whet.runs.directory import resolve

    directory, which = resolve(run, runs_root)
    options = {
        "task": task, "split": split, "subset_frac": subset_frac, "limit": limit,
        "num_samples": num_samples, "temperature": temperature, "greedy": greedy,
    }  # fmt: skip
    given = [f"{name}={dumps(value)}" for name, value in options.items() if value is not None]
    texts = in_section([*given, *(settings or [])], "eval")
    wanted = Evaluation.of(directory, overrides=texts)
    if steps is None and not all_steps:
        _evaluate_one(wanted, directory.checkpoint(which or "latest"), json)
    else:
        checkpoints = _every_checkpoint(directory) if all_steps else (steps or "").replace(" ", "").split(",")
        _evaluate_each(wanted, checkpoints, texts, timeout_s, json)


def _evaluate_one(wanted: Evaluation, checkpoint: Path, json: bool) -> None:
    from whet.cli._output import print_json
    from whet.runs import checkpoint as checkpoints
    from whet.runs.files import read_json

    result = wanted.evaluate(checkpoint)
    directory, step = wanted.directory(checkpoint), checkpoints.manifest(checkpoint).step
    if json:
        where = {
            "run": wanted.run.name,
            "checkpoint": checkpoint.name,
            "step": step,
            "directory": str(directory),
        }
        print_json({**where, **read_json(directory / "metrics.json")})
        return
    print(f"{_table(wanted, result, f'{wanted.run.name}, step {step}').strip()}\n")
    print(f"records and metrics: {directory}")


def _table(wanted: Evaluation, result: EvalResult, title: str) -> str:
    """All metrics, and of each tag the accuracies only."""
    from whet.evals.report import metrics_table

    plan = wanted.plan
    text = metrics_table(result.metrics, f"{title}: {plan.name} {plan.config.split}", tags=False)
    ends = ("/pass@1", "/greedy")
    tags = {
        n.removeprefix("tag/"): i
        for n, i in result.metrics.items()
        if n.startswith("tag/") and n.endswith(ends)
    }
    if tags:
        text += metrics_table(tags, "by tag")
    if result.overlap:
        text += f"{result.overlap} of the {len(plan.examples)} questions were trained on\n"
    return text


def _every_checkpoint(run: RunDirectory) -> list[str]:
    """The checkpoints by name, the last one as `final` once the run has ended."""
    from whet.runs import checkpoint

    names = [path.name for path in checkpoint.steps(run.training_state)]
    final = run.training_state / "step_final"
    if final.is_symlink():
        names = [*(name for name in names if name != final.readlink().name), "final"]
    if not names:
        raise RunError(f"{run.path} has no checkpoint yet")
    return [
        name.removeprefix("step_").lstrip("0") or "0" if "_update_" not in name else name for name in names
    ]


def _check_there(run: RunDirectory, wanted: Sequence[str]) -> None:
    """Raises `RunError` for a checkpoint that the run does not have, before any other is evaluated."""
    from whet.runs import checkpoint

    names = [path.name for path in checkpoint.steps(run.training_state)]
    there = {n.removeprefix("step_").lstrip("0") or "0" for n in names} | {"final", "latest", "best", *names}
    if missing := [name for name in wanted if name not in there]:
        raise RunError(
            f"{run.name} has no checkpoint {', '.join(missing)}; it has {', '.join(_every_checkpoint(run))}. "
            "Expected steps with commas between them, such as --steps 1,5,final"
        )


def _evaluate_each(
    wanted: Evaluation, checkpoints: Sequence[str], settings: Sequence[str], timeout_s: float, json: bool
) -> None:
    from whet.cli._output import print_json
    from whet.evals.metrics import to_json
    from whet.evals.plots import plot_sweep
    from whet.evals.report import sweep_table, write_sweep_csv
    from whet.evals.sweep import sweep

    run, split = wanted.run, f"{wanted.plan.config.split} split"
    _check_there(run, checkpoints)

    def child(checkpoint: str) -> list[str]:
        return [sys.executable, "-m", "whet", "eval", f"{run.path}:{checkpoint}", *settings, "--json"]

    rows = sweep(run.path, checkpoints, timeout_s, child, _report)
    csv = write_sweep_csv(rows, run.evals / wanted.name / "sweep.csv")
    png = plot_sweep(rows, run.plots / f"sweep_{wanted.name}.png", f"{wanted.name}, {split}, {run.name}")
    if json:
        plain = [{**dataclasses.asdict(row), "metrics": to_json(row.metrics)} for row in rows]
        print_json(
            {"run": run.name, "evaluation": wanted.name, "split": wanted.plan.config.split, "rows": plain}
            | {"csv": str(csv), "png": str(png)}
        )
    else:
        print(sweep_table(rows, f"{run.name}: {wanted.name}, {split}") + f"table: {csv}\nplot:  {png}")
    if any(not row.ok for row in rows):
        raise typer.Exit(1)


def _report(row: SweepRow) -> None:
    """What is done, or failed, on the standard error: the standard output is for results."""
    said = f"failed: {row.error}" if row.error else f"done in {row.seconds:.0f} s"
    print(f"checkpoint {row.checkpoint}: {said}", file=sys.stderr, flush=True)
