"""`whet sft`: imitates the demonstrations of a task; the run is a start for RL."""

from __future__ import annotations

from typing import Annotated

import typer

from whet.cli import train


def command(
    config: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG|KEY.SUB=VALUE",
            help="Shipped names or YAML files, merged left to right, then single settings.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all, print the config and a forecast, train nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Fine-tune on demonstrations.

    Completion tokens only. `whet train CONFIG init_from=RUN` goes on with RL. Short for `whet train CONFIG stage=sft`: prompt and completion, or messages; LoRA or full.
    """
    train.command([*config, "stage=sft"], dry_run, quiet)
