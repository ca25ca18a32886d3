"""`whet sft`: imitates the demonstrations of a task; the run is a start for RL."""

from __future__ import annotations

from typing import Annotated

import typer

from whet.cli import train
from whet.cli._options import Configs


def command(
    config: Configs,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all, print the config and a forecast, train nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Fine-tune on demonstrations.

    Short for `whet train CONFIG stage=sft`: prompt and completion, or messages; LoRA or full; the loss is on the
    completions only. `whet train CONFIG init_from=RUN` goes on with RL.
    """
    train.command([*config, "stage=sft"], dry_run, quiet)
