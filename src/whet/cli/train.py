"""`whet train`: a new run from a config, to its end."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from whet.config import Config


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
    """Train a new run from configs and settings.

    For instance `whet train arithmetic max_steps=50 algorithm=grpo`. Ctrl-C and SIGTERM save the run; `whet resume`
    takes it up again.
    """
    asked = _load(config)
    if dry_run:
        _print_forecast(asked)
        return
    from whet.cli._outcome import finish
    from whet.training.launch import start

    trackers = tuple(t for t in asked.trackers if not (quiet and t == "console"))
    finish(start(asked.model_copy(update={"trackers": trackers})))


def _load(arguments: Sequence[str]) -> Config:
    """The config; what has no effect in it is said on the standard error."""
    from whet.config import load_config
    from whet.errors import ConfigError

    files = [a for a in arguments if "=" not in a or Path(a).is_file()]
    if not files:
        raise ConfigError("expected a config: the name of a shipped one, such as arithmetic, or a YAML file")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = load_config(files, [a for a in arguments if a not in files])
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    return config


def _print_forecast(config: Config) -> None:
    from whet.cli._forecast import forecast_text
    from whet.config import dump_config
    from whet.training.preflight import preflight

    forecast = preflight(config)
    print(f"{dump_config(config)}\n{forecast_text(forecast)}")
