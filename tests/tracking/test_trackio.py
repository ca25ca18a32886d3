"""Runs in trackio's own database."""

import json
import sqlite3

import pytest

import tiny
from whet.errors import RunError
from whet.tracking.open import RunView, build_trackers
from whet.training import launch

trackio = pytest.importorskip("trackio")


@pytest.fixture
def database(tmp_path, monkeypatch):
    """Where trackio keeps its projects; its modules have read TRACKIO_DIR long ago."""
    from trackio import sqlite_storage, utils

    monkeypatch.chdir(tmp_path)
    for name in ("TRACKIO_PROJECT", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "trackio"
    for module in (trackio, utils, sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", folder, raising=False)
    folder.mkdir()
    return folder


def rows(database, project="whet"):
    """(run name, step, metrics), as they came."""
    with sqlite3.connect(database / f"{project}.db") as connection:
        found = connection.execute("select run_name, step, metrics from metrics order by id").fetchall()
    return [(name, step, json.loads(metrics)) for name, step, metrics in found]


def view(directory, resume_step=None):
    directory.mkdir(exist_ok=True)
    return RunView(
        directory=directory,
        train_log=directory / "log.jsonl",
        tensorboard=directory / "tb",
        resume_step=resume_step,
    )


def test_steps_stand_in_the_project_under_the_name_of_the_run(database, tmp_path, capsys):
    (tracker,) = build_trackers(["trackio"], view(tmp_path / "run_a"))
    tracker.log(1, {"reward/mean": 0.5})
    tracker.log(2, {"reward/mean": 0.75})
    tracker.close()
    assert rows(database) == [("run_a", 1, {"reward/mean": 0.5}), ("run_a", 2, {"reward/mean": 0.75})]
    assert capsys.readouterr().out == f"trackio {database}; `trackio show --project whet`\n"


def log_one(directory, step, value):
    directory.mkdir(parents=True, exist_ok=True)
    (tracker,) = build_trackers(["trackio"], view(directory))
    tracker.log(step, {"reward/mean": value})
    tracker.close()


def test_a_resumed_run_is_the_same_run_and_its_steps_are_not_lost(database, tmp_path, monkeypatch):
    log_one(tmp_path / "run_a", 3, 0.25)
    monkeypatch.setenv("TRACKIO_PROJECT", "another")  # a run that began in whet stays there
    log_one(tmp_path / "run_a", 2, 0.5)
    monkeypatch.delenv("TRACKIO_PROJECT")
    log_one(tmp_path / "elsewhere" / "run_a", 1, 0.0)  # another run of the same name
    assert [(step, m["reward/mean"]) for _, step, m in rows(database)] == [(3, 0.25), (2, 0.5), (1, 0.0)]
    with sqlite3.connect(database / "whet.db") as connection:
        first, second, other = (i for (i,) in connection.execute("select run_id from metrics order by id"))
    assert first == second != other


def test_a_start_that_fails_says_what_to_do_without_a_key(database, tmp_path, monkeypatch):
    def refuse(**asked):
        raise ConnectionError("the token planted-0123456789 is refused")

    monkeypatch.setenv("HF_TOKEN", "planted-0123456789")
    monkeypatch.setattr(trackio, "init", refuse)
    with pytest.raises(RunError, match=r"token \*\*\* is refused.*leave trackio out") as caught:
        build_trackers(["trackio"], view(tmp_path / "run_a"))
    assert "planted" not in str(caught.value)


def test_a_run_trains_to_the_same_bits_with_it(database, tmp_path):
    plain = launch.start(tiny.config(tmp_path / "plain", max_steps=2))
    tracked = launch.start(tiny.config(tmp_path / "tracked", max_steps=2, trackers=["jsonl", "trackio"]))
    assert tiny.outcome(tracked) == tiny.outcome(plain)
    logged = [(step, m["reward/mean"]) for _, step, m in rows(database)]
    lines = [json.loads(line) for line in tracked.train_log.read_text().splitlines()]
    assert logged == [(line["step"], line["reward/mean"]) for line in lines]
