"""`whet export`: a policy as other programs load it, with a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from whet.cli._options import RunName, RunsRoot


def command(
    run: RunName,
    kind: Annotated[
        Literal["hf", "adapter"],
        typer.Option("--format", help="hf: a whole model, adapters folded in; adapter: for peft."),
    ] = "hf",
    out: Annotated[Path | None, typer.Option(help="Default: exports/RUN-CHECKPOINT.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into what is not empty.")] = False,
    to_hub: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Also upload it to this repository.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Make the repository public.")] = False,
    runs_root: RunsRoot = "runs",
) -> None:
    """Write a policy as other programs load it, with a card."""
    from whet.errors import ConfigError
    from whet.release.export import export
    from whet.runs.directory import resolve

    if public and to_hub is None:
        raise ConfigError("--public goes with --to-hub OWNER/NAME")
    directory, which = resolve(run, runs_root)
    if to_hub is None:
        print(f"exported to {export(directory, which, kind, out, force)}")
        return
    from whet.release.hub import Hub

    hub = Hub(to_hub, public)  # before anything is written: a name, a token and a Hub that answers
    found = export(directory, which, kind, out, force, title=to_hub)
    print(f"exported to {found}\nuploaded to {hub.upload(found, force)}")
