"""`whet train`: a new run from a config, to its end."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli._options import Configs, paths_from_here, split_configs

if TYPE_CHECKING:
    from whet.config import Config


def command(
    config: Configs,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all, print the config and a forecast, train nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train a new run from configs and settings.

    For instance `whet train arithmetic max_steps=50 algorithm=grpo`. Ctrl-C and SIGTERM save the run; `whet resume`
    takes it up again.
    """
    files, settings = split_configs(config)
    with paths_from_here(files):
        asked = _load(files, settings)
        if dry_run:
            _print_forecast(asked)
        else:
            _train(asked, quiet)


def _train(config: Config, quiet: bool) -> None:
    from whet.cli._outcome import finish
    from whet.training.launch import start

    trackers = tuple(t for t in config.trackers if not (quiet and t == "console"))
    finish(start(config.model_copy(update={"trackers": trackers})))


def _load(files: Sequence[str], settings: Sequence[str]) -> Config:
    """The config; what has no effect in it is said on the standard error."""
    from whet.config import load_config

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = load_config(files, settings)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    return config


def _print_forecast(config: Config) -> None:
    from whet.cli._forecast import forecast_text
    from whet.config import dump_config
    from whet.runs.policy import pick_device
    from whet.training.preflight import preflight
    from whet.training.settle import refuse_too_large

    forecast = preflight(config)
    print(f"{dump_config(config)}\n{forecast_text(forecast)}", flush=True)
    if pick_device(config.device).type == "cpu":
        refuse_too_large(forecast["memory_bytes"])
