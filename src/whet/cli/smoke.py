"""`whet smoke`: the whole of a job in short, before the long one."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli._options import Configs, Json, paths_from_here, split_configs

if TYPE_CHECKING:
    from whet.training.smoke import Check

_MARKS = {True: "✓", False: "✗", None: "-"}


def command(
    config: Configs,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the run also when nothing failed.")] = False,
    json: Json = False,
) -> None:
    """Try a job in short: train, evaluate, resume, look at the files.

    Two steps with a checkpoint after each, an evaluation of every checkpoint, one more step from the latest; then a
    list of what worked. The run lies in a folder of its own under runs_root and is removed when all did.
    """
    from whet.cli._output import print_json
    from whet.training.smoke import smoke, smoke_config

    files, settings = split_configs(config)
    with paths_from_here(files):
        asked = smoke_config(files, settings)
    checks, kept = smoke(asked, keep) if json else smoke(asked, keep, _print, _announce)
    ok = all(check.ok for check in checks)
    if json:
        print_json({"ok": ok, "checks": [dataclasses.asdict(c) for c in checks], "kept": kept and str(kept)})
    else:
        _print_end(ok, kept)
    if not ok:
        raise typer.Exit(1)


def _announce(name: str) -> None:
    """What is being tried, on a terminal, where the result then takes the line."""
    if sys.stdout.isatty():
        print(f"  {name} ...", end="\r", flush=True)


def _print(check: Check) -> None:
    print(f"{_MARKS[check.ok]} {check.name:<12} {check.detail}", flush=True)
    if check.advice:
        print(f"  {'':<12} next: {check.advice}", flush=True)


def _print_end(ok: bool, kept: Path | None) -> None:
    print("\nall works" if ok else "\nsomething failed: mend it before the long run")
    if kept is not None:
        print(f"kept in {kept}")
