"""Whatever goes wrong says what it was, loses nothing, and leaves a run that can be resumed."""

import errno
import logging
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from whet.errors import ConfigError, DataError, Interrupted, RunError, TrainingError, VerifierError
from whet.runs import checkpoint, reader
from whet.runs.directory import RunDirectory, list_runs
from whet.training import launch, rl, saving, state
from whet.training import objectives as objectives_module
from whet.training.optimizer import Optimizer

ROWS = {"name": "tiny:Rows"}


def start(root: Path, settings: dict[str, Any] | None = None) -> RunDirectory:
    return launch.start(tiny.config(root, **(settings or {})))


def failing(
    root: Path, error: type[BaseException], match: str, settings: dict[str, Any] | None = None
) -> RunDirectory:
    """The run that a job which must fail leaves behind."""
    with pytest.raises(error, match=match):
        start(root, settings)
    (run,) = list_runs(root)
    assert reader.state(run) == "failed"
    return run


def weights(run: RunDirectory, step: str) -> bytes:
    return (run.checkpoint(step) / "model" / "model.safetensors").read_bytes()


def nothing_was_made(root: Path, match: str, settings: dict[str, Any], error: type = DataError) -> None:
    with pytest.raises(error, match=match):
        start(root, settings)
    assert not root.exists()


# --- rewards ---


@pytest.mark.parametrize(
    ("answer_of", "status", "detail"),
    [
        (lambda: 1 / 0, "error", "ZeroDivisionError: division by zero"),
        (lambda: math.nan, "invalid", "tiny:letters_right returned nan, not a finite number"),
        (lambda: None, "invalid", "tiny:letters_right returned None, not a finite number"),
    ],
)
def test_a_reward_that_fails_now_and_then_is_counted_and_teaches_nothing(
    tmp_path: Path, monkeypatch: Any, answer_of: Callable[[], Any], status: str, detail: str
) -> None:
    def breaks_on_some(text: str, answer: str) -> Any:
        return answer_of() if text.startswith("a") and text != answer else float(len(text))

    monkeypatch.setattr(tiny, "letters_right", breaks_on_some)
    run = start(tmp_path, {"stop": {"max_failed_frac": 0.9}})
    rows = list(reader.rollouts(run))
    broken = [r for r in rows if r["text"].startswith("a") and r["text"] != r["answer"]]
    assert 0 < len(broken) < len(rows)
    assert {(r["reward"], r["status"], r["detail"].partition(" (")[0]) for r in broken} == {
        (None, status, detail)
    }
    assert all(r["reward"] == len(r["text"]) for r in rows if r not in broken)
    for line in reader.metrics(run):
        failed = [r["reward"] is None for r in rows if r["step"] == line["step"]]
        assert line["rollout/failed_frac"] == sum(failed) / 8


@pytest.mark.parametrize("algorithm", ["dr_grpo", {"name": "reinforce", "baseline": "running"}])
def test_too_many_failed_rewards_end_the_run_and_once_mended_it_goes_on_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: Any, algorithm: Any
) -> None:
    settings = {"algorithm": algorithm}
    whole = tiny.outcome(start(tmp_path / "whole", settings))
    good, calls = tiny.letters_right, [0]

    def breaks_in_step_3(text: str, answer: str) -> float:
        calls[0] += 1
        return (
            good(text, answer) if calls[0] <= 19 else math.nan
        )  # one before the run, 2 x 4 completions a step

    monkeypatch.setattr(tiny, "letters_right", breaks_in_step_3)
    run = failing(tmp_path / "run", VerifierError, "6 of 8 rewards failed on our side", settings)
    assert "Mend the verifier and resume" in run.summary()["why"]
    assert run.checkpoint().name == "step_000002"
    monkeypatch.undo()
    monkeypatch.setattr(launch, "plot_run", lambda run: None)
    launch.resume(run)
    assert tiny.outcome(run) == whole


@pytest.mark.parametrize("algorithm", ["dapo", {"name": "reinforce", "baseline": "running"}])
def test_an_error_between_sampling_and_learning_leaves_no_half_step(
    tmp_path: Path, monkeypatch: Any, algorithm: Any
) -> None:
    settings = {"algorithm": algorithm}
    whole = tiny.outcome(start(tmp_path / "whole", settings))
    real, calls = rl.with_advantages, [0]

    def breaks_in_step_3(*arguments: Any) -> Any:
        calls[0] += 1
        batch = real(*arguments)
        if calls[0] == 3:
            raise ZeroDivisionError("an algorithm of one's own")
        return batch

    monkeypatch.setattr(rl, "with_advantages", breaks_in_step_3)
    run = failing(tmp_path / "run", ZeroDivisionError, "of one's own", settings)
    launch.resume(run)
    assert tiny.outcome(run) == whole


def works_once_then(result: Any) -> Callable[[str, str], Any]:
    """A reward that is in order when it is tried before the run."""
    calls = [0]

    def reward(text: str, answer: str) -> Any:
        calls[0] += 1
        return 1.0 if calls[0] == 1 else result

    return reward


def test_an_evaluation_in_which_every_reward_failed_chooses_no_best_step(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(tiny, "no_number", works_once_then(math.nan), raising=False)
    broken = ROWS | {"verifier": {"name": "tiny:no_number", "isolation": "none"}}
    run = start(tmp_path, {"eval": {"at_start": True, "task": broken}})
    assert run.summary()["state"] == "finished"
    assert run.summary()["best_step"] is None


# --- numbers ---


def always_a_signal(text: str, answer: str) -> float:
    return len(text) + 0.1 * text.count("a")


def test_five_skipped_updates_in_a_row_end_the_run_and_move_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tiny, "letters_right", always_a_signal)
    real = objectives_module.loss_terms

    def nan(*arguments: Any) -> dict[str, torch.Tensor]:
        return {name: term * math.nan for name, term in real(*arguments).items()}

    with monkeypatch.context() as broken:
        broken.setattr(objectives_module, "loss_terms", nan)
        run = failing(
            tmp_path,
            TrainingError,
            "5 updates in a row",
            {"max_steps": 8},
        )
    assert [line["optim/skipped"] for line in reader.metrics(run)] == [1.0] * 5
    assert weights(run, "0") == weights(run, "5")
    launch.resume(run)
    assert [line.get("optim/skipped", 0) for line in reader.metrics(run)] == [1.0] * 5 + [0] * 3


def test_a_run_that_is_stopped_after_a_skipped_update_is_saved(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tiny, "letters_right", always_a_signal)
    real, calls = objectives_module.loss_terms, [0]

    def nan_first(*arguments: Any) -> dict[str, torch.Tensor]:
        calls[0] += 1
        return {name: term * (math.nan if calls[0] == 1 else 1.0) for name, term in real(*arguments).items()}

    monkeypatch.setattr(objectives_module, "loss_terms", nan_first)
    monkeypatch.setattr(rl.Job, "raise_if_stopped", interrupt)
    run = start(tmp_path, {"algorithm": {"name": "dr_grpo", "num_iterations": 2}})
    assert run.summary()["state"] == "stopped"
    assert run.checkpoint().name == "step_000001_update_000001"


def interrupt(job: Any) -> None:
    raise Interrupted


def test_four_skipped_updates_in_a_row_are_forgiven(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tiny, "letters_right", always_a_signal)
    real, calls = objectives_module.loss_terms, [0]

    def often_nan(*arguments: Any) -> dict[str, torch.Tensor]:
        calls[0] += 1
        factor = 1.0 if calls[0] % 5 == 0 else math.nan
        return {name: term * factor for name, term in real(*arguments).items()}

    monkeypatch.setattr(objectives_module, "loss_terms", often_nan)
    run = start(tmp_path, {"max_steps": 10, "batch": {"microbatch_tokens": 1000}})
    skipped = [line.get("optim/skipped", 0) for line in reader.metrics(run)]
    assert skipped == [1, 1, 1, 1, 0] * 2


# --- nothing left to learn ---


NO_SIGNAL = [
    (lambda text, answer: 1.0, "native", "all right, every completion got 1"),
    (lambda text, answer: 0.0, "native", "all wrong, every completion got 0"),
    (lambda text, answer: 0.1, "native", "every completion got 0.1"),  # a graded reward may be far from right
    (lambda text, answer: 0.0, {"name": "scripted", "default": ["abc"]}, "all truncated, every completion"),
    (lambda text, answer: len(answer), "native", "the completions of each prompt all got the same reward"),
]


@pytest.mark.parametrize(("reward", "engine", "why"), NO_SIGNAL)
def test_a_run_without_signal_ends_saved_and_names_the_cause(
    tmp_path: Path, monkeypatch: Any, reward: Any, engine: Any, why: str
) -> None:
    monkeypatch.setattr(tiny, "letters_right", reward)
    task = ROWS | {"train": ["a=a", "bc=bc"], "test": ["b=b"]}
    run = start(tmp_path, {"stop": {"no_signal_steps": 2}, "task": task, "engine": engine})
    assert run.summary()["state"] == "finished"
    assert run.summary()["why"].startswith(f"no signal for 2 steps: {why}")
    assert run.checkpoint("final").name == "step_000002"
    assert weights(run, "0") == weights(run, "final")


def test_when_every_reward_failed_the_cause_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tiny, "letters_right", works_once_then(None))
    run = start(tmp_path, {"stop": {"no_signal_steps": 1, "max_failed_frac": 1.0}})
    assert run.summary()["why"] == "no signal for 1 steps: no completion got a reward"


@pytest.mark.parametrize(
    ("when", "step"), [("reward/mean >= 0", 1), ("eval/pass@1>=0", 2), ("eval/echo/pass@1 <= 1", 2)]
)
def test_a_condition_that_holds_ends_a_finished_run(tmp_path: Path, when: str, step: int) -> None:
    run = start(tmp_path, {"stop": {"when": when}, "eval_every": 2})
    assert run.summary()["state"] == "finished"
    assert run.summary()["why"] == f"{when} holds"
    assert run.checkpoint("final").name == f"step_00000{step}"


def test_more_steps_go_on_after_a_condition_ended_the_run(tmp_path: Path) -> None:
    run = start(tmp_path, {"stop": {"when": "reward/mean >= 0"}})
    launch.resume(run)  # the condition still stands
    assert run.checkpoint("final").name == "step_000001"
    launch.resume(run, additional_steps=1)
    assert run.checkpoint("final").name == "step_000002"


# --- found before anything is made ---


@pytest.mark.parametrize("where", ["verifier", "eval"])
def test_a_reward_that_is_broken_is_found_in_the_first_second(
    tmp_path: Path, monkeypatch: Any, where: str
) -> None:
    def asks(text: str, answer: str, colour: str) -> float:
        return 1.0

    monkeypatch.setattr(tiny, "asks", asks, raising=False)
    asks = {"name": "tiny:asks", "isolation": "none"}
    settings = {"verifier": asks, "eval": {"at_start": True, "task": ROWS | {"verifier": asks}}}
    match = "DataError: tiny:asks asks for the column 'colour'; there are: none"
    nothing_was_made(tmp_path / "runs", match, {where: settings[where]}, VerifierError)


def test_an_empty_training_set_is_refused(tmp_path: Path) -> None:
    settings = {"task": ROWS | {"train": []}}
    nothing_was_made(tmp_path / "runs", "the train split of tiny:Rows has no examples", settings)


def test_an_empty_evaluation_set_is_refused(tmp_path: Path) -> None:
    settings = {"task": ROWS | {"test": []}}
    nothing_was_made(tmp_path / "runs", "the test split of tiny:Rows has no examples", settings)


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [(100, 5), (2, 2)],  # the context of 8 less 3 for the completion; sampling.max_prompt_length
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_prompt_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, limit: int, allowed: int, split: str
) -> None:
    settings = {
        "task": ROWS | {"train": ["a=a"], "test": ["b=b"]} | {split: ["c=c", "abcab=a"]},
        "sampling": {"max_completion_length": 3, "max_prompt_length": limit},
    }
    nothing_was_made(
        tmp_path / "runs", f"the prompt of abcab= has 6 tokens and {allowed} are allowed", settings
    )


def test_a_prompt_that_just_fits_is_trained_on(tmp_path: Path) -> None:
    settings = {"task": ROWS | {"train": ["abca=a", "b=b"]}}
    start(tmp_path, settings | {"sampling": {"max_completion_length": 3, "max_prompt_length": 5}})


def test_an_empty_prompt_is_refused(tmp_path: Path) -> None:
    settings = {"task": ROWS | {"train": ["a=a", "=c"], "mark": ""}}
    nothing_was_made(tmp_path / "runs", "the prompt of row 1 is empty", settings)


def test_a_group_of_one_is_refused_where_the_baseline_is_the_group(tmp_path: Path) -> None:
    settings = {"batch": {"prompts_per_step": 2, "num_generations": 1}}
    nothing_was_made(
        tmp_path / "runs", "num_generations is 1, but the baseline of dr_grpo", settings, ConfigError
    )


def test_a_group_of_one_learns_under_reinforce(tmp_path: Path) -> None:
    run = start(tmp_path, {"batch": {"prompts_per_step": 4, "num_generations": 1}, "algorithm": "reinforce"})
    assert weights(run, "0") != weights(run, "final")


def test_a_warm_start_without_demonstrations_is_refused(tmp_path: Path) -> None:
    settings = {"task": ROWS, "warm_start": {"steps": 1}}
    nothing_was_made(tmp_path / "runs", "nothing to imitate", settings)


def test_a_demonstration_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    rows = {"train": ["a=a", "ab=abcab"], "has_demonstrations": True}
    settings = {"task": ROWS | rows, "warm_start": {"steps": 1}}
    nothing_was_made(tmp_path / "runs", "prompt and demonstration of ab= have 9 tokens", settings)


def test_a_malformed_condition_is_refused(tmp_path: Path) -> None:
    nothing_was_made(tmp_path / "runs", "stop.when: expected", {"stop": {"when": "reward is 1"}}, ConfigError)


OVERLAP = {"task": ROWS | {"test": ["bc=bc", " a=a"]}}


def test_training_questions_among_the_evaluation_questions_are_refused(tmp_path: Path) -> None:
    nothing_was_made(tmp_path / "runs", "eval.allow_overlap", OVERLAP)


def test_allowed_overlap_is_in_every_result(tmp_path: Path) -> None:
    settings = {"eval": {"allow_overlap": True, "at_start": True}, "policy": {"alphabet": "abc "}}
    run = start(tmp_path, OVERLAP | settings)
    assert run.summary()["eval"]["before"]["overlap"] == 1
    (by_step,) = reader.evaluations(run).values()
    assert by_step[0]["overlap"] == 1


# --- the run directory ---


def test_a_run_in_use_is_not_touched(tmp_path: Path) -> None:
    run = start(tmp_path)
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and p.name != ".lock"}
    with run.lock(), pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
        launch.resume(run, additional_steps=1)
    assert before == {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and p.name != ".lock"}


def test_both_logs_are_on_the_disk_before_a_checkpoint_promises_their_length(
    tmp_path: Path, monkeypatch: Any
) -> None:
    real, done = checkpoint.save, list[str]()
    monkeypatch.setattr(saving, "sync", lambda path: done.append(path.name))
    monkeypatch.setattr(checkpoint, "save", lambda *args: (done.append("checkpoint"), real(*args))[1])
    start(tmp_path, {"max_steps": 1, "save_every": 1})
    whole = ["train_log.jsonl", "rollouts.jsonl", "checkpoint"]
    assert done[:6] == [*whole, *whole]  # of steps 0 and 1


def test_a_disk_that_fills_up_while_saving_leaves_the_checkpoint_before_it(
    tmp_path: Path, monkeypatch: Any
) -> None:
    whole = tiny.outcome(start(tmp_path / "whole", {"save_every": 2}))
    real = state.write_tensors

    def full(path: Path, tensors: Any) -> None:
        if "step_000004" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, tensors)

    with monkeypatch.context() as broken:
        broken.setattr(state, "write_tensors", full)
        run = failing(tmp_path / "run", RunError, "No space left.*make room, then resume", {"save_every": 2})
    assert "make room, then resume" in run.summary()["why"]
    assert [p.name for p in checkpoint.steps(run.training_state)] == ["step_000000", "step_000002"]
    checkpoint.verify(run.checkpoint())
    launch.resume(run)
    assert tiny.outcome(run) == whole


def test_a_disk_that_is_full_at_the_stop_makes_the_run_a_failed_one(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(launch, "StopSignal", lambda: tiny.StopAt(9))
    real, calls = state.write_tensors, [0]

    def full(path: Path, tensors: Any) -> None:
        calls[0] += 1
        if calls[0] > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, tensors)

    monkeypatch.setattr(state, "write_tensors", full)
    run = failing(tmp_path, RunError, "make room, then resume")
    checkpoint.verify(run.checkpoint("0"))


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_is_used(
    tmp_path: Path, caplog: Any
) -> None:
    run = start(tmp_path, {"save_every": 2})
    whole = tiny.outcome(run)
    weights = run.checkpoint("4") / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RunError, match=r"step_000004/model/model\.safetensors is damaged"):
        launch.resume(run, from_step="4")
    with caplog.at_level(logging.WARNING):
        launch.resume(run)
    assert "step_000004/model/model.safetensors is damaged" in caplog.text
    assert tiny.outcome(run) == whole


# --- signals ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends_the_run_and_it_goes_on_from_there(
    tmp_path: Path, monkeypatch: Any, number: signal.Signals
) -> None:
    whole = tiny.outcome(start(tmp_path / "whole"))
    good, calls = tiny.letters_right, [0]

    def signals_in_step_2(text: str, answer: str) -> float:
        calls[0] += 1
        if calls[0] == 10:
            os.kill(os.getpid(), number)
        return good(text, answer)

    with monkeypatch.context() as pressed:
        pressed.setattr(tiny, "letters_right", signals_in_step_2)
        run = start(tmp_path / "run")
    assert run.summary()["state"] == "stopped"
    assert run.summary()["why"] == number.name
    launch.resume(run)
    assert tiny.outcome(run) == whole


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path, monkeypatch: Any) -> None:
    calls = [0]

    def twice(text: str, answer: str) -> float:
        calls[0] += 1
        if calls[0] == 1:
            return 0.0  # before the run
        # To this thread: sent to the process, another thread may take both, and Python would see one.
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return 0.0

    monkeypatch.setattr(tiny, "letters_right", twice)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path)
    signal.signal(signal.SIGINT, before)
    summary = list_runs(tmp_path)[0].summary()
    assert (summary["state"], summary["why"]) == ("stopped", "KeyboardInterrupt")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_end_at_once_inside_an_update_saves_nothing_of_it(
    tmp_path: Path, monkeypatch: Any, error: type[BaseException]
) -> None:
    whole = tiny.outcome(start(tmp_path / "whole"))
    real, calls = Optimizer.step, [0]

    def ends_in_step_2(optimizer: Optimizer, rate: float) -> None:
        real(optimizer, rate)
        calls[0] += 1
        if calls[0] == 2:
            raise error

    with monkeypatch.context() as killed:
        killed.setattr(Optimizer, "step", ends_in_step_2)
        with pytest.raises(error):
            start(tmp_path / "run")
    (run,) = list_runs(tmp_path / "run")
    assert reader.state(run) == "stopped"
    launch.resume(run)
    assert tiny.outcome(run) == whole
