"""`whet check`: what is installed, what works here, and whether a config could be run."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli._options import Json

if TYPE_CHECKING:
    from whet.doctor.finding import Finding


def command(
    config: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG|KEY.SUB=VALUE]...",
            help="As for `whet train`: check this run too.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check what is installed, and whether a config could be run.

    Of a config: its trackers, data, policy, memory and disk.

    Exits with 1 when something fails. Trains nothing and downloads nothing.
    """
    from whet.cli._output import print_json

    rows = _findings(config or [])
    if json:
        print_json([dataclasses.asdict(row) for row in rows])
    else:
        print(_text(rows))
    if any(row.status == "FAIL" for row in rows):
        raise typer.Exit(1)


def _findings(arguments: list[str]) -> list[Finding]:
    from pathlib import Path

    from whet.doctor import installation

    rows = installation.findings(Path(os.environ.get("WHET_RUNS", "runs")))
    return rows + _of_config(arguments, rows) if arguments else rows


def _of_config(arguments: list[str], rows: list[Finding]) -> list[Finding]:
    from whet.cli._options import split_configs
    from whet.config import load_config
    from whet.doctor.finding import Finding
    from whet.doctor.installation import HUB
    from whet.errors import ConfigError
    from whet.training import readiness

    files, settings = split_configs(arguments)
    try:
        config = load_config(files, settings)
    except ConfigError as error:
        return [Finding(what="config", status="FAIL", found=str(error), next_step="mend the config")]
    hub_answers = any(row.what == HUB and row.status == "OK" for row in rows)
    loaded = Finding(what="config", status="OK", found=" ".join(arguments))
    return [loaded, *readiness.findings(config, hub_answers)]


def _text(rows: list[Finding]) -> str:
    """Aligned rows; the next step stands below what it mends."""
    width = max(len(row.what) for row in rows)
    lines = []
    for row in rows:
        first, *more = row.found.splitlines() or [""]
        lines.append(f"{row.status:<4}  {row.what:<{width}}  {first}")
        next_step = [f"-> {row.next_step}"] if row.next_step else []
        lines += [" " * (width + 8) + text for text in (*more, *next_step)]
    counts = {status: sum(row.status == status for row in rows) for status in ("OK", "WARN", "FAIL")}
    return "\n".join([*lines, "", ", ".join(f"{count} {status}" for status, count in counts.items())])
