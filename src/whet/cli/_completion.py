"""What a shell offers for an argument when TAB is pressed."""

from __future__ import annotations

from pathlib import Path

import typer

from whet import shipped


def configs(incomplete: str) -> list[str]:
    """Shipped configs, YAML files and the folders on the way to them."""
    return [*(n for n in shipped.names() if n.startswith(incomplete)), *_files(incomplete)]


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Runs, newest first, and `latest`."""
    from whet.runs.directory import list_runs

    names = [run.name for run in reversed(list_runs(context.params.get("runs_root") or "runs"))]
    return [name for name in ("latest", *names) if name.startswith(incomplete)]


def _files(incomplete: str) -> list[str]:
    folder = Path(incomplete if incomplete.endswith("/") else Path(incomplete).parent)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [f"{p}/" if p.is_dir() else str(p) for p in found if p.is_dir() or p.suffix in (".yaml", ".yml")]
    return [name for name in named if name.startswith(incomplete) and not name.startswith(".")]
