"""Whether a config could be run: every obstacle in its row."""

import os

import pytest

import tiny
from whet.errors import ConfigError
from whet.training import readiness
from whet.training.preflight import preflight


def rows(config, **more):
    return {row.what: row for row in readiness.findings(config, **more)}


def test_a_config_that_can_be_run_has_only_good_rows_and_leaves_nothing_behind(tmp_path):
    found = rows(tiny.config(tmp_path / "runs"))
    assert {row.status for row in found.values()} == {"OK"}
    assert list(found) == [
        "trackers",
        "device",
        "data",
        "policy",
        "memory of the run",
        "disk of the run",
    ]
    assert found["data"].found == "8 examples to train on, 2 to evaluate on"
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_told_in_its_row_and_the_rest_is_looked_at_too(tmp_path, monkeypatch):
    def refuse(names):
        raise ConfigError("trackers: wandb has no key")

    monkeypatch.setattr(readiness, "check_trackers", refuse)
    found = rows(tiny.config(tmp_path, device="quantum"))
    assert {what: row.status for what, row in found.items() if row.status != "OK"} == {
        "trackers": "FAIL",
        "device": "FAIL",
    }
    assert found["trackers"].found == "trackers: wandb has no key"
    assert "policy" in found


def test_without_data_nothing_is_said_of_the_policy(tmp_path):
    found = rows(
        tiny.config(
            tmp_path, task={"name": "jsonl", "path": str(tmp_path / "none.jsonl")}, eval={"at_start": False}
        )
    )
    assert found["data"].status == "FAIL"
    assert "policy" not in found


@pytest.mark.parametrize(
    ("share_of_free", "status"), [(1.01, "FAIL"), (0.99, "WARN"), (0.81, "WARN"), (0.79, "OK")]
)
def test_a_forecast_is_held_against_what_is_free(tmp_path, monkeypatch, share_of_free, status):
    config = tiny.config(tmp_path)
    needed = preflight(config)
    memory, disk = needed["memory_bytes"]["total"], needed["disk_bytes"]["total"]
    monkeypatch.setattr(readiness, "memory_bytes", lambda: (memory / share_of_free, 1e12))
    monkeypatch.setattr(readiness, "disk_bytes", lambda path: disk / share_of_free)
    found = rows(config)
    assert (found["memory of the run"].status, found["disk of the run"].status) == (status, status)


@pytest.mark.parametrize(("answers", "status"), [(True, "WARN"), (False, "FAIL")])
def test_a_model_that_the_hub_would_bring_is_a_failure_only_where_it_does_not_answer(
    tmp_path, answers, status
):
    policy = {"name": "huggingface", "model": "nobody/nothing"}
    config = tiny.config(tmp_path, policy=policy)
    assert rows(config, hub_answers=answers)["policy"].status == status


def test_a_path_that_is_not_there_is_a_failure_whatever_the_hub_does(tmp_path):
    config = tiny.config(tmp_path, policy={"name": "huggingface", "model": "./nothing"})
    found = rows(config, hub_answers=True)["policy"]
    assert found.status == "FAIL"
    assert "there is no directory ./nothing" in found.found


def test_nothing_is_downloaded_and_the_environment_is_as_before(tmp_path, monkeypatch):
    from huggingface_hub import constants

    seen = []
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    real = readiness.Data.load

    def look(config):
        seen.append((os.environ.get("HF_HUB_OFFLINE"), constants.HF_HUB_OFFLINE))
        return real(config)

    monkeypatch.setattr(readiness.Data, "load", look)
    rows(tiny.config(tmp_path))
    assert seen == [("1", True)]
    assert ("HF_HUB_OFFLINE" in os.environ, constants.HF_HUB_OFFLINE) == (False, False)
