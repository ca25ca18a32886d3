"""A run that was stopped, anywhere and in any way, and resumed, is the run that was never stopped: bit for bit."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from whet.config import load_config
from whet.errors import RunError
from whet.runs import reader
from whet.runs.directory import RunDirectory, list_runs
from whet.runs.files import read_tensors
from whet.training import launch

CASES: dict[str, dict[str, Any]] = {
    "dr_grpo": {},
    "window with a reference": {
        "algorithm": {"name": "grpo", "num_minibatches": 2, "num_iterations": 2, "beta": 0.1}
    },
    "dynamic sampling": {"algorithm": {"name": "dapo"}, "batch": {"max_generation_rounds": 3}},
    "running baseline": {"algorithm": {"name": "reinforce", "baseline": "running"}},
    "warm start, decay, KL in the reward": {
        "warm_start": {"steps": 2, "batch_size": 4},
        "optimizer": {"schedule": "cosine", "schedule_steps": 4, "warmup_steps": 1},
        "algorithm": {"name": "rloo", "beta": 0.1},
    },
}
EVALUATED = {"eval_every": 2, "eval": {"at_start": True, "at_end": True}}


WINDOW = EVALUATED | CASES["window with a reference"]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return EVALUATED | CASES[request.param]


@pytest.fixture(scope="module")
def known() -> dict[str, tuple[dict[str, Any], int]]:
    return {}


@pytest.fixture
def uninterrupted(tmp_path: Path, known: dict[str, Any], polls: Any) -> Callable[..., Any]:
    """The outcome of a job that nothing disturbed, and how often it asked whether to stop; run once."""

    def run(settings: dict[str, Any]) -> tuple[dict[str, Any], int]:
        name = repr(settings)
        if name not in known:
            counter = polls(None)
            known[name] = (tiny.outcome(start(tmp_path / "whole", settings)), counter.polls)
            polls(None)
        return known[name]

    return run


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], tiny.StopAt]:
    """Makes the next run stop at its n-th poll; None lets it go on."""

    def stop_at(poll: int | None) -> tiny.StopAt:
        signal = tiny.StopAt(poll)
        monkeypatch.setattr(launch, "StopSignal", lambda: signal)
        return signal

    return stop_at


def start(root: Path, settings: dict[str, Any]) -> RunDirectory:
    return launch.start(tiny.config(root, **settings))


def assert_same(run: RunDirectory, expected: dict[str, Any]) -> None:
    """Part by part, so that a failure names the part."""
    found = tiny.outcome(run)
    assert found.keys() == expected.keys()
    for part in expected:
        assert found[part] == expected[part], part


def test_two_steps_and_two_more_are_four(tmp_path: Path, case: dict[str, Any], uninterrupted: Any) -> None:
    halves = start(tmp_path / "halves", case | {"max_steps": 2})
    launch.resume(halves, additional_steps=2)
    assert_same(halves, uninterrupted(case)[0])


@pytest.mark.parametrize("part", [0.2, 0.7])
def test_a_run_stopped_on_the_way_and_resumed_is_the_same_run(
    tmp_path: Path, case: dict[str, Any], part: float, polls: Any, uninterrupted: Any
) -> None:
    whole, count = uninterrupted(case)
    assert_same(_stopped_and_resumed(tmp_path / "cut", case, polls, int(count * part)), whole)


@pytest.mark.slow
def test_every_stopping_point_gives_the_same_run(
    tmp_path: Path, case: dict[str, Any], polls: Any, uninterrupted: Any
) -> None:
    whole, count = uninterrupted(case)
    for poll in range(1, count + 1):
        assert_same(_stopped_and_resumed(tmp_path / f"cut{poll}", case, polls, poll), whole)


def _stopped_and_resumed(root: Path, case: dict[str, Any], polls: Any, poll: int) -> RunDirectory:
    polls(poll)
    run = start(root, case)
    assert reader.state(run) == "stopped"
    polls(None)
    launch.resume(run)
    assert reader.state(run) == "finished"
    return run


@pytest.mark.parametrize("stops", [(2, 3, 4, 5), (12, 1, 9), (20, 20)])
def test_a_run_that_is_stopped_again_and_again_is_the_same_run(
    tmp_path: Path, stops: tuple[int, ...], polls: Any, uninterrupted: Any
) -> None:
    whole, _ = uninterrupted(WINDOW)
    polls(stops[0])
    run = start(tmp_path / "cut", WINDOW)
    for poll in (*stops[1:], None):
        polls(poll)
        launch.resume(run)
    assert_same(run, whole)


def test_a_stop_between_two_updates_saves_the_batch_under_way(tmp_path: Path, polls: Any) -> None:
    # A step of this job polls three times while sampling and once after each of its four updates.
    polls(5)
    run = start(tmp_path, CASES["window with a reference"])
    saved = run.checkpoint()
    assert saved.name == "step_000001_update_000002"
    assert read_tensors(saved / "batch.safetensors")["old_logprobs"].shape[0] == 8


def test_a_killed_run_goes_on_from_its_last_checkpoint_as_if_nothing_had_been(
    tmp_path: Path, case: dict[str, Any], uninterrupted: Any
) -> None:
    whole, count = uninterrupted(case)
    child = os.fork()
    if (
        child == 0
    ):  # four polls before the end is inside step 4; its rollouts and line 3 of the log are written
        _killed_at(tmp_path / "killed", case | {"save_every": 2}, count - 4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    run = list_runs(tmp_path / "killed")[0]
    assert reader.state(run) == "lost"
    assert run.checkpoint().name == "step_000002"
    assert [line["step"] for line in reader.metrics(run)] == [0, 1, 2, 3]
    launch.resume(run)
    assert_same(run, whole)


def _killed_at(root: Path, settings: dict[str, Any], poll: int) -> None:
    """In a child: dies by its own hand at the n-th poll, as from a power cut."""

    class Killer(tiny.StopAt):
        def __call__(self) -> bool:
            if super().__call__():
                os.kill(os.getpid(), signal.SIGKILL)
            return False

    launch.StopSignal = lambda: Killer(poll)  # type: ignore[assignment, misc]
    try:
        start(root, settings)
    finally:
        os._exit(1)


def test_going_back_to_an_older_step_gives_what_it_gave_the_first_time(
    tmp_path: Path, case: dict[str, Any], uninterrupted: Any
) -> None:
    run = start(tmp_path / "run", case | {"save_every": 1})
    launch.resume(run, from_step="1")
    assert_same(run, uninterrupted(case)[0])


def test_going_back_to_step_0_begins_after_the_warm_start(tmp_path: Path, uninterrupted: Any) -> None:
    case = EVALUATED | CASES["warm start, decay, KL in the reward"]
    run = start(tmp_path / "run", case)
    launch.resume(run, from_step="0")
    assert_same(run, uninterrupted(case)[0])


def test_going_back_gives_up_the_checkpoints_after_that_step(tmp_path: Path) -> None:
    run = start(tmp_path, {"save_every": 1})
    launch.resume(run, from_step="1", additional_steps=1)
    names = sorted(p.name for p in run.training_state.iterdir() if not p.is_symlink())
    assert names == ["step_000000", "step_000001", "step_000002"]
    assert [line["step"] for line in reader.metrics(run)] == [1, 2]


def test_a_run_that_went_back_and_ended_early_has_no_evaluation_of_later_steps(tmp_path: Path) -> None:
    run = start(tmp_path, {"max_steps": 3, "save_every": 1, "eval_every": 1})
    kept = {s: run.evaluation("echo", s) / "records.jsonl" for s in (1, 2, 3)}
    first = {step: path.read_bytes() for step, path in kept.items()}
    launch.resume(run, from_step="1", additional_steps=1)
    assert {step: path.read_bytes() for step, path in kept.items() if path.exists()} == {
        step: first[step] for step in (1, 2)
    }


def test_a_resumed_run_knows_that_the_last_evaluation_was_the_best(tmp_path: Path) -> None:
    run = start(tmp_path, {"max_steps": 2, "eval": {"at_end": True}})
    assert run.summary()["best_step"] == 2
    assert json.loads((run.checkpoint() / "state.json").read_bytes())["best_step"] == 2


def test_the_reference_is_made_once_and_stays_the_policy_of_step_0(tmp_path: Path) -> None:
    run = start(tmp_path, CASES["window with a reference"] | {"max_steps": 2})
    manifest = run.path / "reference" / "step_000000" / "manifest.json"
    before = (manifest.stat().st_ino, manifest.stat().st_mtime_ns)
    launch.resume(run, additional_steps=2)
    assert (manifest.stat().st_ino, manifest.stat().st_mtime_ns) == before
    weights = {name: _weights(run, name) for name in ("reference", "0", "latest")}
    assert weights["reference"] == weights["0"] != weights["latest"]


def _weights(run: RunDirectory, which: str) -> bytes:
    if which == "reference":
        return (run.path / "reference" / "step_000000" / "reference.safetensors").read_bytes()
    return (run.checkpoint(which) / "model" / "model.safetensors").read_bytes()


def test_a_run_whose_reference_is_damaged_does_not_go_on_with_another_one(tmp_path: Path) -> None:
    run = start(tmp_path, CASES["window with a reference"])
    weights = run.path / "reference" / "step_000000" / "reference.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(RunError, match="no good copy of the policy of step 0"):
        launch.resume(run, additional_steps=1)


def test_more_steps_keep_the_schedule_of_the_original_run(tmp_path: Path) -> None:
    # linear over the original 4 steps: 1, 3/4, 2/4, 1/4 of the rate; then the final rate holds.
    settings = {"optimizer": {"learning_rate": 0.08, "schedule": "linear"}}
    run = start(tmp_path, settings)
    launch.resume(run, additional_steps=2)
    launch.resume(run, additional_steps=1)
    rates = [line["optim/learning_rate"] for line in reader.metrics(run)]
    assert rates == pytest.approx([0.08, 0.06, 0.04, 0.02, 0.02, 0.02, 0.02])


def test_an_interruption_inside_the_warm_start_is_saved_and_goes_on(
    tmp_path: Path, polls: Any, uninterrupted: Any
) -> None:
    settings = EVALUATED | CASES["warm start, decay, KL in the reward"]
    whole, _ = uninterrupted(settings)
    polls(2)
    run = start(tmp_path / "cut", settings)
    assert not list(run.training_state.glob("step_*"))
    assert [path.name for path in (run.path / "warm_start").glob("step_0*")] == ["step_000001"]  # of 2 steps
    polls(None)
    launch.resume(run)
    assert_same(run, whole)


def test_two_runs_of_one_config_are_equal_and_another_seed_is_not(tmp_path: Path, uninterrupted: Any) -> None:
    whole, _ = uninterrupted(WINDOW)
    assert_same(start(tmp_path / "again", WINDOW), whole)
    assert start(tmp_path / "other", WINDOW | {"seed": 4}).rollouts_log.read_bytes() != whole["rollouts"]


def test_the_config_of_a_run_can_itself_be_run(tmp_path: Path) -> None:
    one = start(tmp_path / "1", {})
    again = load_config([one.config, {"runs_root": str(tmp_path / "2")}])
    assert_same(launch.start(again), tiny.outcome(one))


def test_the_rows_of_a_run_say_which_weights_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two updates a step, each with a gradient: step s is sampled by weights of version 2 (s - 1).
    monkeypatch.setattr(tiny, "letters_right", lambda text, answer: len(text) + 0.1 * text.count("a"))
    run = start(tmp_path, {"algorithm": {"name": "dr_grpo", "num_iterations": 2}})
    versions = {(r["step"], r["policy_version"]) for r in reader.rollouts(run)}
    assert versions == {(1, 0), (2, 2), (3, 4), (4, 6)}


def test_training_runs_on_one_thread_as_asked(tmp_path: Path) -> None:
    start(tmp_path, {"max_steps": 1})
    assert torch.get_num_threads() == 1
