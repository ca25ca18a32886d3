"""Tables for people and for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from whet.evals.sweep import SweepRow
from whet.functional.statistics import Interval

HEADLINES = ("pass@1", "greedy", "truncated_frac", "answered_frac", "mean_length", "entropy")
"""What a table over checkpoints shows of the metrics."""
_ACCURACIES = ("pass@1", "greedy")


def metrics_table(metrics: Mapping[str, Interval], title: str = "", *, tags: bool = True) -> str:
    """Metrics as text, one per line with its interval and how many completions and problems are in it."""
    rows = [
        (name, number(i.mean), _range(i), str(i.n), str(i.clusters))
        for name, i in metrics.items()
        if tags or not name.startswith("tag/")
    ]
    return table(title, ("metric", "value", "95% interval", "n", "problems"), rows)


def sweep_table(rows: Sequence[SweepRow], title: str = "") -> str:
    """A sweep as text: one line per checkpoint, accuracies with intervals, failed ones with their reason below."""
    names = [n for n in HEADLINES if any(n in row.metrics for row in rows)]
    lines = [(row.checkpoint, *(_cell(row, n) for n in names), f"{row.seconds:.0f}") for row in rows]
    failed = [f"{row.checkpoint}: {row.error}\n" for row in rows if not row.ok]
    return table(title, ("checkpoint", *names, "seconds"), lines) + "".join(failed)


def write_sweep_csv(rows: Sequence[SweepRow], path: Path) -> Path:
    """Every metric of a sweep, one line per checkpoint: `<name>`, `<name>_low`, `<name>_high`; failed ones
    say why."""
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    header = ["checkpoint", "step", "error", "seconds"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(header + [column for n in names for column in (n, f"{n}_low", f"{n}_high")])
        for row in rows:
            intervals = [row.metrics.get(name) for name in names]
            numbers = [v for i in intervals for v in ((i.mean, i.low, i.high) if i else ("", "", ""))]
            lines.writerow([row.checkpoint, row.step, row.error, round(row.seconds, 3), *numbers])
    return path


def number(value: float) -> str:
    """A number with four digits that matter, and no more than four places."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def _range(interval: Interval) -> str:
    return f"{number(interval.low)} .. {number(interval.high)}"


def _cell(row: SweepRow, name: str) -> str:
    """A mean, and of an accuracy both ends: the interval of a share is not symmetric."""
    if (interval := row.metrics.get(name)) is None:
        return ""
    ends = f" [{number(interval.low)}, {number(interval.high)}]" if name in _ACCURACIES else ""
    return number(interval.mean) + ends


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as text in columns, the first to the left and the others to the right; the same on every terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for place, name in enumerate(header):
        drawn.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    # A wide console that is no terminal: the text is the same wherever it goes.
    console = Console(width=200, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
