"""Runs that sample from a copy of the policy; what breaks in the copy ends them with their state saved."""

from pathlib import Path
from typing import Any

import pytest

import tiny
from vllm_stand_in import StandIn, serving
from whet.errors import EngineError
from whet.runs.directory import RunDirectory, list_runs
from whet.training import launch


def start(root: Path, url: str, **changes: Any) -> RunDirectory:
    base = {"engine": {"name": "vllm", "url": url, "timeout_s": 20.0}, "max_steps": 3, "save_every": 0}
    return launch.start(tiny.config(root, **base, **changes))


class BreaksLater(StandIn):
    """Keeps its promises until the first update of the policy."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def update(self, held: Any, tensors: Any) -> None:
        """With its fault from then on."""
        if held.version == 1:
            self.faults.add(self.fault)
        super().update(held, tensors)


def test_a_run_with_the_sampler_corrected_ends_well(tmp_path: Path) -> None:
    with serving(StandIn()) as url:
        run = start(tmp_path, url, algorithm={"name": "dr_grpo", "tis": 2.0})
    assert run.summary()["state"] == "finished"
    for line in tiny.outcome(run)["log"]:
        if "policy/sampling_gap_max" in line:
            assert line["policy/sampling_gap_max"] < 1e-5
            assert line["policy/tis_mean"] == pytest.approx(1.0, abs=1e-5)
            assert line["policy/tis_clip_frac"] == 0.0


def test_a_run_is_the_same_when_it_is_run_again(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        with serving(StandIn()) as url:
            found.append(tiny.outcome(start(tmp_path / name, url)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("says it is older", "stale weights after the update: the policy is at version 1"),
        ("ignores updates", "stale weights|does not compute"),
        ("raises while sampling", "could not sample"),
    ],
)
def test_a_copy_that_breaks_ends_the_run_with_its_state_saved_and_it_resumes(
    tmp_path: Path, fault: str, message: str
) -> None:
    with serving(StandIn()) as url:
        whole = tiny.outcome(start(tmp_path / "whole", url))
    worker = BreaksLater(fault)
    with serving(worker) as url:
        with pytest.raises(EngineError, match=message):
            start(tmp_path / "run", url)
        (run,) = list_runs(tmp_path / "run")
        assert run.summary()["state"] == "failed"
        assert "EngineError: " in run.summary()["why"]
        assert run.checkpoint().name != "step_000000"
        worker.faults.clear()
        worker.fault = "none"
        launch.resume(run)
    assert tiny.outcome(run) == whole
