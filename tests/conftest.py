"""What all tests share: one thread each, shapes and dtypes of the pure maths checked wherever a test calls it, and a
finished run of two steps."""

import os

# Before torch is loaded, and for the processes that tests start: workers that share cores only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from pathlib import Path
from typing import Any

import pytest

import shapes

shapes.load_checked()


@pytest.fixture(scope="session")
def tiny_config() -> dict[str, Any]:
    """Sums of two digits, a GPT of one layer, two steps after a warm start that makes some answers right."""
    return {
        "max_steps": 2,
        "save_every": 1,
        "trackers": ["jsonl"],
        "num_threads": 1,
        "task": {"name": "arithmetic", "max_operand": 9, "num_train": 30, "num_test": 8},
        "policy": {
            "name": "from_scratch",
            "num_layers": 1,
            "num_heads": 2,
            "width": 32,
            "context_length": 16,
        },
        "batch": {"prompts_per_step": 4, "num_generations": 4},
        "sampling": {"max_prompt_length": 8, "max_completion_length": 4},
        "optimizer": {"learning_rate": 1e-3},
        "warm_start": {"steps": 40, "batch_size": 30, "optimizer": {"learning_rate": 3e-3}},
    }


@pytest.fixture(scope="session")
def tiny_run(tiny_config, tmp_path_factory) -> Path:
    """A finished run with the checkpoints 0, 1, 2 and both evaluations. Read it only; `own_run` may be changed."""
    from whet import train

    return train(tiny_config, runs_root=str(tmp_path_factory.mktemp("runs"))).path


@pytest.fixture
def own_run(tiny_run, tmp_path) -> Path:
    """A copy of `tiny_run` that a test may change, alone in its runs root."""
    return shutil.copytree(tiny_run, tmp_path / "runs" / tiny_run.name, symlinks=True)


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is saved."""
    from matplotlib.figure import Figure

    saved = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, path: (saved.append(self), original(self, path, dpi=20))[1]
    )
    return saved
