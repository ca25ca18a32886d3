from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from whet.errors import RunError
from whet.runs import reader
from whet.runs.directory import RunDirectory
from whet.runs.files import write_json


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    found = RunDirectory.create(tmp_path, datetime(2031, 5, 6))
    found.train_log.parent.mkdir()
    return found


def test_reading_runs_loads_no_torch():
    code = "import sys, whet.runs.reader; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("torn", [b"", b"{", b'{"step": 3, "rew', b'{"step": 3}', b"\0\0\0\0\n", b"\n"])
def test_a_torn_last_line_is_left_out(run, torn):
    run.train_log.write_bytes(b'{"step": 1}\n{"step": 2}\n' + torn)
    assert reader.metrics(run) == [{"step": 1}, {"step": 2}]
    assert reader.last_metrics(run) == {"step": 2}


@pytest.mark.parametrize("bad", [b"{", b"[1]", b"3", b"", b"\xff"])
def test_a_broken_line_in_the_middle_is_named(run, bad):
    run.train_log.write_bytes(b'{"step": 1}\n' + bad + b'\n{"step": 3}\n')
    with pytest.raises(RunError, match=r"train_log\.jsonl, line 2: expected a JSON object"):
        reader.metrics(run)


def test_a_run_without_logs_has_no_metrics(run):
    assert reader.metrics(run) == []
    assert list(reader.rollouts(run)) == []
    assert reader.last_metrics(run) == {}


def test_the_last_metrics_are_found_in_a_long_log(run):
    run.train_log.write_text("".join(f'{{"step": {i}, "x": "{"y" * 90}"}}\n' for i in range(2000)))
    assert reader.last_metrics(run)["step"] == 1999


def test_a_run_left_running_by_a_dead_process_is_lost(run):
    assert reader.state(run) == "lost"
    with run.lock():
        assert reader.state(run) == "running"
    run.set_state("finished")
    assert reader.state(run) == "finished"


def test_a_damaged_summary_does_not_hide_the_run(run):
    run.summary_file.write_text("{")
    row = reader.overview(run)
    assert row["state"] == "unknown"
    assert "summary.json is not JSON" in row["why"]


def test_the_overview_names_task_algorithm_and_progress(run):
    run.config.write_text("task: {name: echo, limit: 3}\nalgorithm: dr_grpo\nmax_steps: 50\n")
    run.train_log.write_text('{"step": 7, "reward/mean": 0.25}\n')
    row = reader.overview(run)
    assert (row["task"], row["algorithm"], row["step"], row["max_steps"], row["reward"]) == (
        "echo", "dr_grpo", 7, 50, 0.25,
    )  # fmt: skip


def test_the_overview_has_the_moved_end_and_the_latest_accuracy(run):
    run.config.write_text("max_steps: 50\n")
    run.update_summary(max_steps=70, eval={"before": {"pass@1": 0.25}})
    assert (reader.overview(run)["max_steps"], reader.overview(run)["accuracy"]) == (70, 0.25)
    run.update_summary(eval={"before": {"pass@1": 0.25}, "after": {"pass@1": 0.75}})
    assert reader.overview(run)["accuracy"] == 0.75


def test_the_last_metrics_are_those_of_training_and_not_of_an_evaluation_after_it(run):
    lines = ['{"step": 7, "completions/mean_length": 3.0}', '{"step": 7, "eval/echo/pass@1": 0.5}']
    run.train_log.write_text("\n".join(lines) + "\n")
    assert reader.last_metrics(run) == {"step": 7, "completions/mean_length": 3.0}


def test_some_rollouts_of_the_last_step_are_spread_over_it(run):
    rows = [{"step": step, "sample": sample} for step in (1, 2) for sample in range(6)]
    run.rollouts_log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(r["step"], r["sample"]) for r in reader.last_rollouts(run, 3)] == [(2, 0), (2, 2), (2, 4)]
    assert len(reader.last_rollouts(run, 100)) == 6
    assert reader.last_rollouts(run, 0) == []


def test_evaluations_are_found_by_task_and_step(run):
    for task, step, value in [("echo", 0, 0.25), ("echo", 10, 0.75), ("logic", 10, 0.5)]:
        directory = run.evaluation(task, step)
        directory.mkdir(parents=True)
        write_json(directory / "metrics.json", {"pass@1": value})
    assert reader.evaluations(run) == {
        "echo": {0: {"pass@1": 0.25}, 10: {"pass@1": 0.75}},
        "logic": {10: {"pass@1": 0.5}},
    }


def test_a_config_that_is_not_yaml_is_named(run):
    run.config.write_text("task: [")
    with pytest.raises(RunError, match=r"config\.yaml is not a config"):
        reader.config(run)
