"""`whet eval`: one checkpoint in this process, several in processes of their own."""

import csv
import json
import os
from pathlib import Path

import pytest

from whet.runs.directory import RunDirectory
from whet.runs.lock import hold


def test_one_checkpoint_is_a_table_with_intervals(whet, own_run):
    ended = whet("eval", own_run)
    assert ended.code == 0
    (line,) = [line.split() for line in ended.out.splitlines() if line.split()[:1] == ["pass@1"]]
    stored = json.loads((own_run / "evals/arithmetic/step_000002/metrics.json").read_text())["metrics"][
        "pass@1"
    ]
    assert line == [
        "pass@1",
        *(f"{stored[k]:.4f}" for k in ("mean", "low")),
        "..",
        f"{stored['high']:.4f}",
        "8",
        "8",
    ]
    assert "by tag" in ended.out
    assert str(own_run / "evals" / "arithmetic" / "step_000002") in ended.out


def test_one_checkpoint_as_json(whet, own_run):
    found = whet(
        "eval", f"{own_run}:1", "--num-samples", "2", "--no-greedy", "subset_frac=0.5", "--json"
    ).json
    assert (found["checkpoint"], found["step"], found["split"]) == ("step_000001", 1, "test")
    assert found["metrics"]["pass@2"]["clusters"] == 4  # half of 8 problems
    assert "greedy" not in found["metrics"]
    assert found["directory"].endswith(
        "evals/arithmetic@subset_frac=0.5,num_samples=2,greedy=False/step_000001"
    )


def test_training_questions_are_counted(whet, own_run):
    assert "30 of the 30 questions were trained on" in whet("eval", own_run, "--split", "train").out


def test_settings_of_another_task_follow_its_name(whet, own_run):
    settings = (
        'task.alphabet="01"',
        "task.min_length=4",
        "task.max_length=6",
        "task.num_train=3",
        "task.num_test=5",
    )
    found = whet("eval", own_run, "--task", "echo", *settings, "--no-greedy", "sampling=1")
    assert (found.code, "eval.sampling is not a setting" in found.err) == (2, True)
    found = whet("eval", own_run, "--task", "echo", *settings, "--no-greedy", "--json").json
    assert (found["task"]["name"], found["task"]["alphabet"], found["problems"]) == ("echo", "01", 5)


def test_a_damaged_checkpoint_is_refused_when_asked_for_by_name(whet, own_run):
    damage(own_run, "step_000002")
    ended = whet("eval", f"{own_run}:final")
    assert (ended.code, ended.out) == (2, "")
    assert "model.safetensors is damaged: expected sha256" in ended.err


def test_the_latest_good_checkpoint_stands_in_for_a_damaged_one(whet, own_run):
    damage(own_run, "step_000002")
    assert whet("eval", own_run, "--json").json["step"] == 1


@pytest.fixture
def swept(whet, own_run):
    damage(own_run, "step_000001")
    return whet("eval", own_run, "--steps", "1,final", "--limit", "4", "--json")


def test_a_sweep_names_what_failed_and_finishes_the_rest(swept, own_run):
    assert swept.code == 1
    failed, final = swept.json["rows"]
    assert (failed["checkpoint"], "model.safetensors is damaged" in failed["error"]) == ("1", True)
    assert (final["checkpoint"], final["step"], final["error"]) == ("final", 2, "")
    assert final["metrics"]["pass@1"]["clusters"] == 4
    assert "checkpoint 1: failed" in swept.err
    with Path(swept.json["csv"]).open() as file:
        assert [row["checkpoint"] for row in csv.DictReader(file)] == ["1", "final"]
    assert own_run / "plots" / "sweep_arithmetic@limit=4.png" in RunDirectory(own_run).plots.iterdir()


def test_all_steps_are_those_of_the_run_and_the_last_is_called_final(tiny_run):
    from whet.cli.eval import _every_checkpoint

    assert _every_checkpoint(RunDirectory(tiny_run)) == ["0", "1", "final"]


def damage(run, checkpoint):
    """Flips a bit."""
    file = run / "training_state" / checkpoint / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("arguments", [("--num-samples", "0"), ("num_samples=0",), ("eval.num_samples=0",)])
def test_a_value_that_cannot_be_is_named_with_its_setting_and_place(whet, tiny_run, arguments):
    ended = whet("eval", tiny_run, *arguments)
    assert ended.code == 2
    assert "eval.num_samples: expected" in ended.err
    assert "(command line)" in ended.err


def test_two_evaluations_of_one_checkpoint_do_not_share_a_file(whet, own_run):
    directory = own_run / "evals" / "arithmetic@num_samples=2" / "step_000002"
    directory.mkdir(parents=True)
    with hold(directory):
        ended = whet("eval", own_run, "--num-samples", "2")
    assert ended.code == 2
    assert f"step_000002 is in use by process {os.getpid()}" in ended.err
    assert not (directory / "records.jsonl").exists()
    assert whet("eval", own_run, "--num-samples", "2").code == 0
