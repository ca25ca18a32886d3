"""Pictures are written, hold the data, and leave nothing behind."""

import json
import shutil

import matplotlib
import pytest

from whet.errors import RunError
from whet.evals.metrics import metrics_of, to_json
from whet.evals.plots import _running_mean, plot_run, plot_sweep
from whet.evals.sweep import SweepRow
from whet.runs.directory import RunDirectory


@pytest.fixture
def run(tmp_path, record):
    run = RunDirectory.create(tmp_path)
    run.config.write_text("seed: 3\ntask: {name: echo}\nalgorithm: {name: dr_grpo}\n")
    run.train_log.parent.mkdir()
    lines = [{"step": s, "reward/mean": s / 30, "completions/mean_length": 4.0} for s in range(1, 31)]
    run.train_log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step, right in ((0, 1), (30, 3)):
        metrics = metrics_of([record(f"p{i}", value=float(i < right)) for i in range(4)])
        directory = run.evaluation("echo", step)
        directory.mkdir(parents=True)
        (directory / "metrics.json").write_text(json.dumps({"metrics": to_json(metrics)}))
    return run


def test_the_picture_of_a_run_holds_its_numbers(run, figures):
    path = plot_run(run.path)
    assert path == run.path / "plots" / "training.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    reward, accuracy, length, entropy = figures[0].axes
    assert reward.lines[0].get_ydata()[-1] == 1.0
    assert list(length.lines[0].get_xdata()) == list(range(1, 31))
    assert list(accuracy.lines[0].get_xdata()) == [0, 30]
    assert list(accuracy.lines[0].get_ydata()) == [0.25, 0.75]
    low, high = accuracy.collections[0].get_segments()[1][:, 1]  # Wilson for 3 of 4
    assert (low, high) == (pytest.approx(0.3006, abs=1e-4), pytest.approx(0.9544, abs=1e-4))
    assert [t.get_text() for t in entropy.texts] == ["not recorded"]
    assert [t.get_text() for t in accuracy.get_legend().get_texts()] == ["sampled: 25.0% to 75.0%"]
    assert "echo" in figures[0].get_suptitle()


def test_an_evaluation_with_settings_of_its_own_is_no_part_of_the_picture(run, figures):
    shutil.copytree(run.evals / "echo", run.evals / "echo@num_samples=8")
    plot_run(run)
    assert len(figures[0].axes[1].containers) == 1


def test_accuracy_on_training_data_is_not_called_held_out(run, figures):
    file = run.evaluation("echo", 30) / "metrics.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "split": "train"}))
    plot_run(run)
    assert figures[0].axes[1].get_title(loc="left") == "Accuracy ON TRAINING DATA"


def test_a_run_without_data_is_refused(tmp_path):
    with pytest.raises(RunError, match="no logged step"):
        plot_run(RunDirectory.create(tmp_path))


def test_the_picture_of_a_sweep_names_the_failed_checkpoints(tmp_path, record, figures):
    good = metrics_of([record("a"), record("b", value=0.0)])
    rows = [
        SweepRow(checkpoint="5", step=5, metrics=good),
        SweepRow(checkpoint="10", step=10, metrics={}, error="boom"),
    ]
    assert plot_sweep(rows, tmp_path / "sweep.png").exists()
    (axes,) = figures[0].axes
    assert "failed: 10" in axes.get_xlabel()
    assert list(axes.lines[0].get_xdata()) == [5]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["sampled: 50.0%"]


def test_a_sweep_without_results_still_gives_a_picture(tmp_path, figures):
    plot_sweep([SweepRow(checkpoint="5", step=5, metrics={}, error="boom")], tmp_path / "sweep.png")
    assert [t.get_text() for t in figures[0].axes[0].texts] == ["not recorded"]


def test_drawing_leaves_the_settings_of_matplotlib_alone(run, figures):
    before = dict(matplotlib.rcParams)
    plot_run(run)
    assert dict(matplotlib.rcParams) == before


def test_a_running_mean_uses_fewer_neighbours_at_the_ends():
    assert _running_mean([0, 3, 6, 9], 1) == [1.5, 3.0, 6.0, 7.5]
