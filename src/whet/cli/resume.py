"""`whet resume`: takes a run up where it was, or at an earlier checkpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from whet.cli._options import RunName, RunsRoot
from whet.errors import ConfigError


def command(
    run: RunName,
    from_step: Annotated[
        str | None, typer.Option(help="A step, latest or final; later checkpoints are given up.")
    ] = None,
    additional_steps: Annotated[
        int | None, typer.Option(min=1, help="Train this many steps from there, whatever the config says.")
    ] = None,
    runs_root: RunsRoot = "runs",
) -> None:
    """Go on with a run, bit for bit as if it had never stopped."""
    from whet.runs import reader
    from whet.runs.directory import resolve

    directory, which = resolve(run, runs_root)
    if which and from_step and which != from_step:
        raise ConfigError(f"{run} names the checkpoint {which} and --from-step {from_step}: give one of them")
    start = which or from_step or "latest"
    if start == "latest" and additional_steps is None and reader.state(directory) == "finished":
        why = directory.summary().get("why", "")
        print(f"{directory.name} is finished ({why}). Train on with --additional-steps K")
        return
    from whet.cli._outcome import finish
    from whet.training.launch import resume

    finish(resume(directory, start, additional_steps))
