"""The picture of a sweep."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from whet.evals.plots import ACCURACIES, drawing
from whet.sweeps.report import conclusion, title
from whet.sweeps.results import SettingResult, SweepResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_APART = 0.26
"""Between the two accuracies of a setting, in units of the distance between settings."""


def plot_sweep(result: SweepResult) -> Path:
    """Draws sweep.png: the accuracies of every setting with their 95% intervals, and each run as a small ring."""
    path = result.directory / "sweep.png"
    with drawing(path) as (axes,):
        axes.figure.set_size_inches(9, 1.6 + 0.55 * len(result.settings))  # type: ignore[union-attr]
        for place, (metric, label, color, marker) in enumerate(ACCURACIES):
            shown = [(n + (place - 0.5) * _APART, s) for n, s in enumerate(result.settings)]
            shown = [(row, s) for row, s in shown if metric in s.metrics]
            _draw_intervals(axes, shown, metric, {"label": label, "color": color, "marker": marker})
            _draw_runs(axes, shown, metric, color)
        _say_what_it_is(axes, result)
    return path


def _draw_intervals(
    axes: Axes, shown: list[tuple[float, SettingResult]], metric: str, style: dict[str, str]
) -> None:
    intervals = [s.metrics[metric] for _, s in shown]
    if not intervals:
        return
    means = [i.mean for i in intervals]
    ends = [[i.mean - i.low for i in intervals], [i.high - i.mean for i in intervals]]
    axes.errorbar(
        means, [r for r, _ in shown], xerr=ends, linestyle="none", markersize=5, capsize=3,
        label=style["label"], color=style["color"], marker=style["marker"],
    )  # fmt: skip


def _draw_runs(axes: Axes, shown: list[tuple[float, SettingResult]], metric: str, color: str) -> None:
    for row, setting in shown:
        values = [v for m in setting.finished if (v := m.accuracy(metric)) is not None]
        axes.plot(values, [row] * len(values), "o", color=color, fillstyle="none", markersize=4, alpha=0.7)


def _say_what_it_is(axes: Axes, result: SweepResult) -> None:
    from matplotlib.ticker import PercentFormatter

    labels = [s.label + ("  (best)" if s.label == result.best else "") for s in result.settings]
    axes.set_yticks(range(len(labels)), ["\n".join(textwrap.wrap(label, 30)) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)  # the first on top
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_title("\n".join(textwrap.wrap(title(result), 70)))
    over = "seeds and problems; rings are single runs" if _has_seeds(result) else "problems (one seed)"
    axes.set_xlabel(
        "\n".join([f"share right, 95% interval over {over}", *textwrap.wrap(conclusion(result), 85)])
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    if axes.containers:
        axes.figure.legend(frameon=False, loc="outside lower right", ncols=2)


def _has_seeds(result: SweepResult) -> bool:
    return any(len(s.finished) > 1 for s in result.settings)
