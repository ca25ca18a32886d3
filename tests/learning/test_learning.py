"""Reward goes up, and it goes up where nothing was trained on."""

import time
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from whet.config import load_config
from whet.runs import reader
from whet.runs.directory import RunDirectory
from whet.text.tokenizers import load_tokenizer
from whet.training import launch

POLICY = {"name": "from_scratch", "num_layers": 2, "num_heads": 2, "width": 64, "context_length": 24}
ADAMW = {"warmup_steps": 10, "betas": [0.9, 0.95]}


def warm(steps: int) -> dict[str, Any]:
    return {"steps": steps, "batch_size": 64, "optimizer": {"learning_rate": 3e-3, **ADAMW}}


TASKS: dict[str, dict[str, Any]] = {
    "echo": {
        "task": {"name": "echo", "min_length": 4, "max_length": 8},
        "sampling": {"max_prompt_length": 12, "max_completion_length": 10},
        "optimizer": {"learning_rate": 3e-4, **ADAMW},
        "warm_start": warm(80),
        "max_steps": 80,
    },
    "pattern": {
        "task": {"name": "pattern", "min_period": 3},
        "sampling": {"max_prompt_length": 16, "max_completion_length": 4},
        "optimizer": {"learning_rate": 5e-4, **ADAMW},
        "warm_start": warm(30),
        "max_steps": 80,
    },
    "arithmetic": {
        "task": {"name": "arithmetic", "max_operand": 19, "num_train": 250, "num_test": 60},
        "policy": {"num_heads": 4, "width": 128},
        "sampling": {"max_prompt_length": 8, "max_completion_length": 3},
        "optimizer": {"learning_rate": 5e-4, **ADAMW},
        "warm_start": warm(100),
        "max_steps": 80,
        "batch": {"prompts_per_step": 32},
    },
}
MARGIN = 0.1
"""What the mean reward of a step must gain by RL, warm start excluded: the last ten steps against the first five."""


def trained(root: Path, *sources: Any) -> RunDirectory:
    base = {"runs_root": str(root), "trackers": ["jsonl"], "save_every": 0, "num_threads": 1}
    return launch.start(load_config([*sources, base]))


def gain(run: RunDirectory) -> float:
    rewards = [line["reward/mean"] for line in reader.metrics(run) if "reward/mean" in line]
    return fmean(rewards[-10:]) - fmean(rewards[:5])


def held_out_gain(run: RunDirectory) -> float:
    evals = run.summary()["eval"]
    return float(evals["after"]["pass@1"] - evals["before"]["pass@1"])


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["dr_grpo", "grpo", "rloo", "reinforce"])
@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_learned_under_an_algorithm(tmp_path: Path, task: str, algorithm: str) -> None:
    base = {
        "policy": POLICY,
        "algorithm": algorithm,
        "batch": {"prompts_per_step": 16, "num_generations": 8},
        "eval": {"limit": 200, "num_samples": 2, "greedy": False},
    }
    started = time.process_time()
    run = trained(tmp_path, base, TASKS[task])
    assert gain(run) > MARGIN
    # The 250 sums are too few to learn adding from; what is learned there is the sums themselves.
    assert task == "arithmetic" or held_out_gain(run) > MARGIN
    assert time.process_time() - started < 40


@pytest.mark.slow
def test_the_debug_config_learns_in_twenty_seconds_of_one_core(tmp_path: Path) -> None:
    started = time.process_time()
    run = trained(tmp_path, "debug")
    assert time.process_time() - started < 20
    before, after = (run.summary()["eval"][when] for when in ("before", "after"))
    assert after["ci95"][0] > before["ci95"][1]


def test_the_debug_job_improves_in_seconds(tmp_path: Path) -> None:
    settings = {"max_steps": 30, "eval": {"at_start": False, "at_end": False}}
    assert gain(trained(tmp_path, "debug", settings)) > 0.05


def test_the_debug_config_is_as_small_as_it_says(tmp_path: Path) -> None:
    run = trained(tmp_path, "debug", {"max_steps": 11, "warm_start": None, "eval": {"limit": 5}})
    assert load_tokenizer(run.checkpoint() / "model").vocab_size <= 100
    rows = list(reader.rollouts(run))
    assert {r["reward"] for r in rows} <= {0.0, 1.0}
    assert all(
        10 <= len(r["prompt"]) + 4 <= 20 for r in rows
    )  # characters are tokens; a completion has up to 4
