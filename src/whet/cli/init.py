"""`whet init`: a small job of one's own, to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def command(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A new folder, or one to add the files to.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace files of these names.")] = False,
) -> None:
    """Write a small job of your own that trains at once.

    A config, a reward, data and a README. It takes seconds on a CPU; the README leads from there to a reward, data and
    a model of your own.
    """
    from whet.cli._output import columns
    from whet.starter import write_starter

    for path in write_starter(directory, force):
        print(path)
    rows = [("whet train config.yaml", "train it; it takes seconds"), ("README.md", "what to do next")]
    if directory.resolve() != Path.cwd():
        rows.insert(0, (f"cd {shlex.quote(str(directory))}", "its paths are relative to it"))
    print(f"\nnext\n{columns(rows, '  ')}")
