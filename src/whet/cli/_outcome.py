"""What `whet train` and `whet resume` say at the end, and their exit code."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from whet.cli._accuracy import accuracy
from whet.cli._output import columns, duration

if TYPE_CHECKING:
    from whet.runs.directory import RunDirectory


def finish(run: RunDirectory) -> None:
    """Prints how a run ended; exits with 130 after Ctrl-C and 143 after SIGTERM, as a shell expects."""
    summary = run.summary()
    print(f"\n{summary['state']}: {summary['why']}")
    print(columns(_facts(run), ""))
    if table := accuracy(summary):
        print(f"\n{table}")
    print(f"\nnext\n{columns(_next(run), '  ')}")
    if summary["state"] == "stopped":
        raise typer.Exit(128 + getattr(signal, summary["why"], signal.SIGINT))


def _facts(run: RunDirectory) -> list[tuple[str, str]]:
    summary, plot = run.summary(), run.plots / "training.png"
    time = f"{summary.get('steps', 0)} steps in {duration(summary.get('wall_s', 0.0))}"
    plots = [("plot", str(plot))] if plot.exists() else []
    return [("time", time), ("run", str(run.path)), *plots]


def _next(run: RunDirectory) -> list[tuple[str, str]]:
    """Commands worth trying, spelled so that they work from here."""
    is_found = run.path.parent == Path(os.environ.get("WHET_RUNS", "runs"))
    name = run.name if is_found else str(run.path)
    if run.summary()["state"] == "stopped":
        return [(f"whet resume {name}", "go on from where it stopped")]
    rl = [(f"whet train CONFIG init_from={name}", "RL from this policy")]
    return [
        *(rl if run.summary().get("stage") == "sft" else []),
        (f"whet show {name}", "metrics, rollouts and files"),
        (f"whet eval {name} --all-steps", "accuracy over checkpoints"),
        (f"whet resume {name} --additional-steps 50", "train on"),
    ]
