"""`whet merge`: an adapter folded into the weights of its base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whet.cli._options import RunName, RunsRoot


def command(
    run: RunName,
    out: Annotated[Path, typer.Option(help="Where the model goes.")],
    force: Annotated[bool, typer.Option("--force", help="Write into a directory that is not empty.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    runs_root: RunsRoot = "runs",
) -> None:
    """Fold the LoRA adapter of a run into its base model."""
    from whet.release.export import merge
    from whet.runs.directory import resolve

    directory, which = resolve(run, runs_root)
    print(f"merged model in {merge(directory, which, out, force, device)}")
