from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from whet.errors import RunError
from whet.runs import checkpoint, environment
from whet.runs.directory import RunDirectory, list_runs, resolve
from whet.runs.files import replace_file, write_json

NOON = datetime(2031, 5, 6, 12, 0, 0)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs", NOON)


def test_runs_of_one_second_get_numbers(tmp_path):
    made = [RunDirectory.create(tmp_path, NOON).name for _ in range(3)]
    assert made == ["run_2031-05-06_12-00-00", "run_2031-05-06_12-00-00-2", "run_2031-05-06_12-00-00-3"]


def test_a_root_that_cannot_hold_runs_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        RunError, match=r"file/run_.* cannot be made: Not a directory.* runs_root or WHET_RUNS"
    ):
        RunDirectory.create(tmp_path / "file")


def test_runs_are_listed_by_time_then_number(tmp_path):
    for _ in range(11):
        RunDirectory.create(tmp_path, NOON)
    RunDirectory.create(tmp_path, NOON.replace(year=2030))
    (tmp_path / "notes").mkdir()
    listed = [r.name for r in list_runs(tmp_path)]
    assert listed[0] == "run_2030-05-06_12-00-00"
    assert listed[-2:] == ["run_2031-05-06_12-00-00-10", "run_2031-05-06_12-00-00-11"]
    assert len(listed) == 12


def test_a_new_run_is_running(run):
    assert json.loads(run.summary_file.read_text()) == {"state": "running", "why": ""}


def test_the_summary_keeps_what_others_wrote(run):
    run.update_summary(best_step=20)
    run.set_state("stopped", "Ctrl-C")
    assert run.summary() == {"state": "stopped", "why": "Ctrl-C", "best_step": 20}


def test_a_summary_that_cannot_be_written_leaves_the_old_one(run):
    with pytest.raises(RunError, match="expected finite numbers"):
        run.update_summary(reward=float("nan"))
    assert run.summary() == {"state": "running", "why": ""}


def test_replacing_a_file_leaves_no_temporary_one_behind_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    replace_file(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_evaluation_has_a_place_of_its_own(run):
    assert run.evaluation("gsm8k", 10) == run.path / "evals" / "gsm8k" / "step_000010"


# -- the lock ---------------------------------------------------------------------------------------------------

HOLD = """
import os, sys, time
from pathlib import Path
from whet.runs.directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    print("held", flush=True)
    if sys.argv[2:] and os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def held_by_another(run: RunDirectory, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-c", HOLD, str(run.path), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_which_one_holds_the_run(run):
    process = held_by_another(run)
    try:
        with pytest.raises(RunError, match=f"in use by process {process.pid} on "), run.lock():
            pass
        assert run.is_locked
    finally:
        process.kill()
        process.wait()


def test_a_killed_process_lets_go_of_the_run(run):
    process = held_by_another(run)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not run.is_locked
    with run.lock():
        assert run.is_locked


def test_the_same_process_cannot_hold_a_run_twice(run):
    with run.lock(), pytest.raises(RunError, match=f"in use by process {os.getpid()}"), run.lock():
        pass


def test_a_run_is_free_after_an_error_under_the_lock(run):
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    assert not run.is_locked


def test_a_forked_worker_that_outlives_a_killed_trainer_does_not_keep_the_lock(run):
    process = held_by_another(run, "--with-a-worker")
    worker = int(process.stdout.readline())
    try:
        process.kill()
        process.wait()
        os.kill(worker, 0)  # it lives
        assert not run.is_locked
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_worker_forked_just_before_the_end_does_not_keep_the_lock(run):
    with run.lock():
        if (worker := os.fork()) == 0:
            signal.pause()
    try:
        assert not run.is_locked
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_asking_whether_a_run_is_locked_does_not_keep_its_owner_out(run):
    with run.lock():
        pass
    asker = subprocess.Popen(
        [sys.executable, "-c", "import sys\nfrom pathlib import Path\nfrom whet.runs.directory import *\n"
         "run = RunDirectory(Path(sys.argv[1]))\nprint('asking', flush=True)\nwhile True: run.is_locked",
         str(run.path)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        asker.stdout.readline()
        for _ in range(100):
            with run.lock():
                pass
    finally:
        asker.kill()
        asker.wait()


# -- naming a run -----------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs of one day, one of another, and one that was renamed."""
    root = tmp_path / "runs"
    for now in (NOON, NOON.replace(hour=13), NOON.replace(day=7)):
        RunDirectory.create(root, now)
    (root / "run_2031-05-06_13-00-00").rename(root / "baseline")
    checkpoint.save(root / "baseline" / "training_state", 120, lambda d: write_json(d / "s.json", 1))
    return root


@pytest.mark.parametrize(
    ("spec", "name", "which"),
    [
        ("latest", "run_2031-05-07_12-00-00", None),
        ("latest:final", "run_2031-05-07_12-00-00", "final"),
        ("run_2031-05-06_12-00-00", "run_2031-05-06_12-00-00", None),
        ("run_2031-05-06", "run_2031-05-06_12-00-00", None),
        ("2031-05-07", "run_2031-05-07_12-00-00", None),
        ("2031-05-07:best", "run_2031-05-07_12-00-00", "best"),
        ("base", "baseline", None),
        ("base:120", "baseline", "120"),
        ("{root}/baseline", "baseline", None),
        ("{root}/baseline/", "baseline", None),
        ("{root}/baseline:120", "baseline", "120"),
        ("{root}/baseline/training_state/step_000120", "baseline", "step_000120"),
        ("{root}/baseline/training_state/step_latest", "baseline", "step_000120"),
    ],
)
def test_a_person_can_name_a_run_in_many_ways(runs, spec, name, which):
    found, checkpoint_spec = resolve(spec.format(root=runs), runs)
    assert (found.path.resolve(), checkpoint_spec) == ((runs / name).resolve(), which)


def test_a_run_can_be_named_by_a_path_from_here(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    assert resolve("runs/baseline:120", "elsewhere") == (RunDirectory(Path("runs/baseline")), "120")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("run_", "begins more than one run: run_2031-05-06_12-00-00, run_2031-05-07_12-00-00"),
        (
            "nope",
            "there is no run 'nope'. Newest in {root}: baseline, run_2031-05-06_12-00-00, run_2031-05-07",
        ),
        ("nope:3", "there is no run 'nope'"),
        ("", "there is no run ''"),
        ("{root}", "there is no run"),
    ],
)
def test_a_name_that_fits_no_run_or_several_lists_the_candidates(runs, spec, message):
    with pytest.raises(RunError) as caught:
        resolve(spec.format(root=runs), runs)
    assert message.format(root=runs) in str(caught.value)


def test_without_any_run_the_error_says_so(tmp_path):
    with pytest.raises(RunError, match=r"there is no run 'latest'.*: none"):
        resolve("latest", tmp_path / "runs")


def test_the_best_checkpoint_is_the_one_in_the_summary(runs):
    run = RunDirectory(runs / "baseline")
    with pytest.raises(RunError, match="no best checkpoint"):
        run.checkpoint("best")
    run.update_summary(best_step=120)
    assert run.checkpoint("best").name == "step_000120"


# -- environment.json -------------------------------------------------------------------------------------------


def test_the_environment_is_recorded_without_environment_variables(run, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2-hunter2")
    run.write_environment(environment.describe(seed=3, device="cpu"))
    text = run.environment.read_text()
    assert "hunter2" not in text
    facts = json.loads(text)
    assert (facts["seed"], facts["device"], facts["command"]) == (3, "cpu", sys.argv)
    assert facts["versions"]["torch"] == __import__("torch").__version__


def git(directory: Path, *command: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", "-C", directory, *who, *command], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_git_commit_and_uncommitted_changes_are_recorded(tmp_path):
    assert environment.git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "log", "--format=%H")
    assert environment.git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "a").write_text("2")
    assert environment.git_state(tmp_path) == {"commit": commit, "dirty": True}
