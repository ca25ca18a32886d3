"""A pretrained policy learns, whole and through adapters: more held-out sums are right after than before."""

import time
from pathlib import Path
from typing import Any

import pytest

from checkpoints import example
from whet.config import load_config
from whet.runs.directory import RunDirectory
from whet.training import launch

pytestmark = pytest.mark.slow


def trained(root: Path, settings: dict[str, Any]) -> RunDirectory:
    base = {"runs_root": str(root), "trackers": ["jsonl"], "save_every": 0, "eval": {"greedy": False}}
    return launch.start(load_config(["tiny_qwen2", base, settings]))


def assert_better(run: RunDirectory) -> None:
    before, after = (run.summary()["eval"][when]["ci95"] for when in ("before", "after"))
    assert after[0] > before[1]  # the intervals do not touch


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Random weights, a warm start on worked sums, and Dr. GRPO on all of them."""
    root, made = tmp_path_factory.mktemp("whole"), example()
    sizes = {"vocab_size": 300, "width": 128, "layers": 2, "heads": 4, "context": 512}  # as the config says
    made.write(root / "model", "qwen2", made.own_texts(), 0, **sizes)
    started = time.process_time()
    run = trained(root, {"policy": {"model": str(root / "model")}})
    assert time.process_time() - started < 180
    return run


def test_a_tiny_qwen2_learns_to_add(whole: RunDirectory) -> None:
    assert_better(whole)


def test_adapters_on_its_warm_start_learn_to_add(whole: RunDirectory, tmp_path: Path) -> None:
    policy = {"model": str(whole.checkpoint("0") / "model"), "lora": {"r": 16}}
    settings = {"policy": policy, "warm_start": None, "optimizer": {"learning_rate": 3e-3}}
    started = time.process_time()
    run = trained(tmp_path, settings)
    assert time.process_time() - started < 180
    assert_better(run)
    weights = run.checkpoint() / "model" / "adapter_model.safetensors"
    assert (
        weights.stat().st_size < 0.3 * (whole.checkpoint("0") / "model" / "model.safetensors").stat().st_size
    )
