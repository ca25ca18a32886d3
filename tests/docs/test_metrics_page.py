"""Every key that a run logs is on the page, and every key on the page is logged by some run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import whet
from whet import registry

PAGE = Path(__file__).resolve().parents[2] / "docs/metrics.md"
BROKEN = """
from whet.algorithms.reinforce import Reinforce

class Broken(Reinforce):
    def policy_loss(self, batch, logprobs):
        return logprobs * float("nan")

def with_digits(completions, **columns):
    return [float("nan") if "7" in text else sum(map(int, filter(str.isdigit, text))) or None for text in completions]
"""
PART = {
    "task": {
        "name": "arithmetic",
        "min_operand": 10,
        "num_train": 30,
        "num_test": 4,
        "verifier": {"name": "combine", "parts": {"near": {"verifier": "numeric_distance"},
                                                  "format": {"verifier": {"name": "tags_format"}}}},
    }
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "max_steps": 2,
    "save_every": 0,
    "eval_every": 1,
    "num_threads": 1,
    "trackers": ["jsonl"],
    "task": {"name": "mixture", "parts": {"sums": PART}},
    "policy": {"name": "from_scratch", "num_layers": 1, "num_heads": 2, "width": 16, "context_length": 16},
    "algorithm": {"name": "grpo", "beta": 0.1, "entropy_coef": 0.01, "num_iterations": 2, "tis": 2.0},
    "probes": registry.names("probes"),
    "batch": {"prompts_per_step": 3, "num_generations": 6},
    "sampling": {"max_prompt_length": 8, "max_completion_length": 4},
    "warm_start": {"steps": 1, "batch_size": 4},
    "eval": {"num_samples": 2},
}

GAMES = {"task": {"name": "guess_number", "num_train": 9, "num_test": 2}, "warm_start": None, "max_steps": 1}


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The keys of a run with everything on, of one whose rewards skip and fail and whose gradient is not finite, of a
    supervised one, and of one with turns."""
    root = tmp_path_factory.mktemp("metrics")
    (root / "broken.py").write_text(BROKEN)
    broken = {"name": f"{root}/broken.py:Broken"}
    skipping = {
        "task": {**PART["task"], "verifier": f"{root}/broken.py:with_digits"},
        "stop": {"max_failed_frac": 1.0},
    }
    runs = [
        whet.train(CONFIG, runs_root=str(root)),
        whet.train({**CONFIG, **skipping, "algorithm": broken, "max_steps": 1}, runs_root=str(root)),
        whet.train({**CONFIG, "stage": "sft", "warm_start": None, "max_steps": 1}, runs_root=str(root)),
        whet.train({**CONFIG, **GAMES}, runs_root=str(root)),
    ]
    return {key for run in runs for line in run.metrics for key in line} - {"step"}


def documented() -> list[str]:
    return re.findall(r"^\| `([\w@/<>=]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def fits(key: str, pattern: str) -> bool:
    """Whether a logged key is the documented one; ends of intervals and tags of an evaluation count as its metric."""
    if key.startswith("eval/"):
        key = re.sub(r"_(low|high)$", "", re.sub(r"/tag/[^/]+=[^/]+/", "/", key))
    return re.fullmatch(re.sub(r"<\w+>", "[^/]+", pattern), key) is not None


def test_every_logged_key_is_on_the_page(logged: set[str]) -> None:
    assert [key for key in sorted(logged) if not any(fits(key, p) for p in documented())] == []


def test_every_key_on_the_page_is_logged(logged: set[str]) -> None:
    assert [p for p in documented() if not any(fits(key, p) for key in logged)] == []


def test_no_key_is_on_the_page_twice() -> None:
    assert len(documented()) == len(set(documented()))
