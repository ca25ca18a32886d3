"""`whet check`: rows, exit codes, and a config."""

import pytest
import yaml

from whet.doctor import installation
from whet.doctor.finding import Finding


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(installation, "why_unreachable", lambda url: "no such host")
    return tmp_path


@pytest.fixture
def config(tiny_config, place):
    file = place / "tiny.yaml"
    file.write_text(yaml.safe_dump({**tiny_config, "runs_root": str(place / "runs")}))
    return file


def test_a_machine_is_shown_row_by_row_with_the_next_step_below(whet, place, monkeypatch):
    rows = [
        Finding(what="torch", status="OK", found="2.9"),
        Finding(what="git", status="WARN", found="not found", next_step="install it"),
    ]
    monkeypatch.setattr(installation, "findings", lambda root: rows)
    ended = whet("check")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "OK    torch  2.9",
        "WARN  git    not found",
        "             -> install it",
        "",
        "1 OK, 1 WARN, 0 FAIL",
    ]


def test_json_has_the_same_rows(whet, place, monkeypatch):
    monkeypatch.setattr(
        installation, "findings", lambda root: [Finding(what="a", status="FAIL", found="b", next_step="c")]
    )
    ended = whet("check", "--json")
    assert ended.json == [{"what": "a", "status": "FAIL", "found": "b", "next_step": "c"}]
    assert ended.code == 1


def test_a_config_that_can_be_run_is_ok_and_no_run_is_made(whet, config, place):
    ended = whet("check", config, "max_steps=1", "--json")
    found = {row["what"]: row for row in ended.json}
    assert ended.code == 0
    assert {found[w]["status"] for w in ("config", "trackers", "data", "policy", "memory of the run")} == {
        "OK"
    }
    assert not (place / "runs").exists()


def test_a_config_that_cannot_be_read_fails_with_its_problems(whet, config):
    ended = whet("check", config, "max_stepps=1", "--json")
    (row,) = [row for row in ended.json if row["what"] == "config"]
    assert (ended.code, row["status"]) == (1, "FAIL")
    assert "max_stepps" in row["found"]


def test_a_tracker_that_cannot_start_fails_the_config_before_anything_is_trained(
    whet, config, place, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    ended = whet("check", config, "trackers=[jsonl, trackio]", "--json")
    (row,) = [row for row in ended.json if row["what"] == "trackers"]
    assert row["status"] == "FAIL"
    assert "pip install trackio" in row["found"]
    assert ended.code == 1


def test_a_run_with_a_tracker_that_cannot_start_ends_before_it_is_made(whet, config, place, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    ended = whet("train", config, "trackers=[jsonl, trackio]")
    assert ended.code == 2
    assert ended.err.startswith("error: trackers: trackio needs the package trackio: pip install trackio (")
    assert not (place / "runs").exists()


def test_settings_alone_are_no_config(whet, place, monkeypatch):
    monkeypatch.setattr(installation, "findings", lambda root: [])
    ended = whet("check", "max_steps=1")
    assert ended.code == 2
    assert "expected a config" in ended.err
