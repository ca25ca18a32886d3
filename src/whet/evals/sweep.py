"""Evaluates many checkpoints of a run, each in a process of its own, so that none can take the others with
it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whet.evals.metrics import Metrics, from_json
from whet.runs import child

Command = Callable[[str], Sequence[str]]
"""The command line that evaluates one checkpoint and prints `{"step": ..., "metrics": {...}}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One checkpoint of a sweep: its metrics, or why there are none."""

    checkpoint: str
    """As it was asked for: a step or `final`."""
    step: int | None
    metrics: Metrics
    error: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it was evaluated."""
        return not self.error


def sweep(
    run: Path,
    checkpoints: Sequence[str],
    timeout_s: float,
    command: Command | None = None,
    on_row: Callable[[SweepRow], None] = lambda row: None,
) -> list[SweepRow]:
    """One row per checkpoint, in order. A child that fails, or is not done in time, is named and the others
    go on.

    A child past its deadline is killed together with its own children. `on_row` sees each row when it is
    there. The default command is `whet eval RUN:CHECKPOINT --json` in this Python.
    """
    command = command or (lambda c: [sys.executable, "-m", "whet", "eval", f"{run}:{c}", "--json"])
    rows = []
    for checkpoint in checkpoints:
        rows.append(_row(checkpoint, command(checkpoint), timeout_s))
        on_row(rows[-1])
    return rows


def _row(checkpoint: str, command: Sequence[str], timeout_s: float) -> SweepRow:
    start = time.monotonic()
    output, error = _run(command, timeout_s)
    step, metrics = int(checkpoint) if checkpoint.isdecimal() else None, Metrics()
    if not error:
        try:
            found = json.loads(output)
            step, metrics = found.get("step", step), from_json(found["metrics"])
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            error = f"printed no metrics ({type(problem).__name__}: {problem}): {output.strip()[-200:]!r}"
    seconds = time.monotonic() - start
    return SweepRow(checkpoint=checkpoint, step=step, metrics=metrics, error=error, seconds=seconds)


def _run(command: Sequence[str], timeout_s: float) -> tuple[str, str]:
    """What a child prints, and what is wrong with it (empty: nothing)."""
    try:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = child.start(command, **pipes, encoding="utf-8", errors="replace")
    except OSError as problem:
        return "", f"could not be started: {problem}"
    try:
        output, complaint = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return "", f"not done after {timeout_s:g} s"
    finally:  # also when this process is interrupted: no child outlives its sweep
        child.end([process])
    if process.returncode:
        return "", f"exit code {process.returncode}: {_last_line(complaint)}"
    return output, ""


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
