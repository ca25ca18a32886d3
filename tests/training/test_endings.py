"""How a run ends that has nothing to draw, and one whose weights are lost."""

from pathlib import Path

import pytest

import tiny
from whet.errors import TrainingError
from whet.runs.directory import list_runs
from whet.training import launch


def test_a_run_that_logs_nothing_ends_well(tmp_path: Path) -> None:
    run = launch.start(tiny.config(tmp_path, trackers=[], max_steps=1))
    assert run.summary()["state"] == "finished"
    assert not run.plots.exists()


def test_weights_that_ran_away_end_the_run_although_every_reward_is_the_same(tmp_path: Path) -> None:
    config = tiny.config(tmp_path, optimizer={"learning_rate": 1e30}, save_every=1)
    with pytest.raises(TrainingError, match=r"not finite .*Lower optimizer\.learning_rate"):
        launch.start(config)
    (run,) = list_runs(tmp_path)
    assert run.summary()["state"] == "failed"
