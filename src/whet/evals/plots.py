"""Pictures of a run and of a sweep over its checkpoints. The only file that draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.errors import RunError
from whet.evals.metrics import Metrics, from_json
from whet.evals.sweep import SweepRow
from whet.runs import reader
from whet.runs.directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLED, GREEDY, THIRD, GREY = "#2563eb", "#d97706", "#0f766e", "#6b7280"
ACCURACIES = (("pass@1", "sampled", SAMPLED, "o"), ("greedy", "greedy", GREEDY, "s"))
CURVES = (
    ("reward/mean", "Training reward", "mean per step", SAMPLED),
    ("loss/nll", "Negative log-likelihood", "nats per token", SAMPLED),
    ("completions/mean_length", "Completion length", "tokens", THIRD),
    ("policy/entropy", "Entropy", "nats per token", THIRD),
)
STYLE: Any = {
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def plot_run(run: Path | RunDirectory) -> Path:
    """Draws plots/training.png: reward, held-out accuracy, completion length and entropy over steps.

    Of a supervised run its loss in place of the reward. Accuracy has its 95% intervals. A panel without data says so.
    Raises `RunError` when nothing is logged.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory(run)
    steps = reader.metrics(run)
    # Evaluations with settings of their own (see `evals/checkpoint.py`) are other quantities.
    evaluations = {name: found for name, found in reader.evaluations(run).items() if "@" not in name}
    if not steps and not evaluations:
        raise RunError(f"{run.path} has no logged step and no evaluation to draw")
    path = run.plots / "training.png"
    reward, nll, length, entropy = CURVES
    is_supervised = any("loss/nll" in line for line in steps)
    with drawing(path, 2, 2, _title(run)) as axes:
        _draw_curve(axes[0], steps, nll if is_supervised else reward)
        _draw_accuracy(axes[1], evaluations)
        _draw_curve(axes[2], steps, length)
        _draw_curve(axes[3], steps, entropy)
        for lowest in axes[2:]:
            lowest.set_xlabel("step")
    return path


def plot_sweep(
    rows: Sequence[SweepRow], path: Path, title: str = "Held-out accuracy over checkpoints"
) -> Path:
    """Draws accuracy over steps with 95% intervals; checkpoints that failed are named below."""
    found: dict[int, Metrics] = {row.step: row.metrics for row in rows if row.ok and row.step is not None}
    failed = ", ".join(row.checkpoint for row in rows if not row.ok)
    with drawing(path) as (axes,):
        _draw_lines(axes, {"": found})
        axes.set_title(title)
        axes.set_xlabel("step" + (f"  (failed: {failed})" if failed else ""))
    return path


@contextmanager
def drawing(path: Path, rows: int = 1, columns: int = 1, title: str = "") -> Iterator[list[Axes]]:
    """Panels in the house's style, written to the path at the end. Leaves matplotlib's own state as it
    was."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        # 9 inches at 200 dpi: 10-point letters stay readable when shown 900 px wide.
        figure = Figure(figsize=(9, 2.7 * rows + 0.6), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        if title:
            figure.suptitle(title, x=0.012, ha="left", color=GREY, fontsize=10)
        yield [*figure.subplots(rows, columns, squeeze=False).flat]
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def _title(run: RunDirectory) -> str:
    settings = reader.config(run)
    names = [settings.get(part) for part in ("task", "algorithm")]
    words = [n.get("name") if isinstance(n, dict) else n for n in names]
    seed = f"seed {settings['seed']}" if "seed" in settings else None
    return "  ·  ".join(str(word) for word in (*words, seed, run.name) if word)


def _draw_curve(axes: Axes, steps: Sequence[Mapping[str, Any]], curve: tuple[str, str, str, str]) -> None:
    """A metric of training: every step pale, the running mean on top."""
    name, title, unit, color = curve
    axes.set_title(title)
    axes.set_ylabel(unit)
    points = [(s["step"], s[name]) for s in steps if s.get(name) is not None]
    if not points:
        return _say_empty(axes)
    x, y = [list(values) for values in zip(*points, strict=True)]
    if len(y) < 20:
        axes.plot(x, y, color=color, linewidth=2, marker="o", markersize=3)
    else:
        axes.plot(x, y, color=color, linewidth=0.8, alpha=0.3)
        axes.plot(x, _running_mean(y, max(2, len(y) // 40)), color=color, linewidth=2)
    return None


def _draw_accuracy(axes: Axes, evaluations: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> None:
    splits = {content.get("split") for steps in evaluations.values() for content in steps.values()}
    axes.set_title("Accuracy ON TRAINING DATA" if "train" in splits else "Held-out accuracy")
    found = {
        task: {step: from_json(content["metrics"]) for step, content in sorted(steps.items())}
        for task, steps in evaluations.items()
    }
    _draw_lines(axes, found)


def _draw_lines(axes: Axes, found: Mapping[str, Mapping[int, Metrics]]) -> None:
    """Accuracies of every task over steps, with intervals. One task is not named; of several only the sampled
    one."""
    from matplotlib.ticker import PercentFormatter

    kinds = ACCURACIES if len(found) == 1 else ACCURACIES[:1]
    colors = (SAMPLED, GREEDY, THIRD, "#9333ea", "#be123c", GREY)
    for place, (task, steps) in enumerate(found.items()):
        for name, label, color, marker in kinds:
            points = {step: metrics[name] for step, metrics in steps.items() if name in metrics}
            if not points:
                continue
            means = [i.mean for i in points.values()]
            down, up = [i.mean - i.low for i in points.values()], [i.high - i.mean for i in points.values()]
            axes.errorbar(
                list(points),
                means,
                yerr=[down, up],
                label=f"{label if len(found) == 1 else task}: {_first_to_last(means)}",
                color=color if len(found) == 1 else colors[place % len(colors)],
                marker=marker,
                markersize=4,
                linewidth=1.8,
                elinewidth=1.2,
                capsize=3,
            )
    if not axes.containers:
        return _say_empty(axes)
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("share right, 95% interval")
    axes.legend(frameon=False, loc="best")
    return None


def _first_to_last(means: Sequence[float]) -> str:
    return f"{means[0]:.1%}" if len(means) == 1 else f"{means[0]:.1%} to {means[-1]:.1%}"


def _say_empty(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])


def _running_mean(values: Sequence[float], reach: int) -> list[float]:
    """The mean over up to `reach` neighbours on each side; fewer at the ends."""
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]
