"""A run of one step that trained an adapter on a tiny Qwen2, made once per process."""

import functools
import tempfile
from pathlib import Path

from checkpoints import tiny_checkpoint
from whet import train
from whet.runs.directory import RunDirectory

SYSTEM = "Add."


@functools.cache
def _root() -> tempfile.TemporaryDirectory[str]:
    """Removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="whet_adapter_")


@functools.cache
def adapter_run(quantization: str | None = None) -> RunDirectory:
    """The run; read it only. One supervised step at a high rate, so that the adapter says something."""
    config = {
        "max_steps": 1,
        "stage": "sft",
        "runs_root": _root().name,
        "trackers": ["jsonl"],
        "num_threads": 1,
        "device": "cpu",
        "task": {"name": "arithmetic", "max_operand": 9, "num_train": 8, "num_test": 4},
        "policy": {
            "name": "huggingface",
            "model": str(tiny_checkpoint("qwen2")),
            "precision": "fp32",
            "quantization": quantization,
            "lora": {"r": 4, "alpha": 8},
        },
        "prompt": {"system": SYSTEM},
        "batch": {"prompts_per_step": 4},
        "sampling": {"max_prompt_length": 64, "max_completion_length": 8},
        "optimizer": {"learning_rate": 0.05},
    }
    return RunDirectory(Path(train(config).path))
