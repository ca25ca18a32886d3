"""Tiny pretrained checkpoints, made by the example that makes them for everyone; once per process."""

import functools
import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType

_EXAMPLE = Path(__file__).parents[1] / "examples" / "tiny_checkpoint.py"


@functools.cache
def _holder() -> tempfile.TemporaryDirectory[str]:
    """Removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="whet_checkpoints_")


@functools.cache
def example() -> ModuleType:
    """`examples/tiny_checkpoint.py` as a module."""
    spec = importlib.util.spec_from_file_location("tiny_checkpoint", _EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def tiny_checkpoint(family: str = "qwen2", seed: int = 0, width: int = 32) -> Path:
    """The directory of a checkpoint with random weights; read it only."""
    made = example()
    directory = Path(_holder().name) / f"{family}_{seed}_{width}"
    sizes = {"vocab_size": 384, "width": width, "layers": 2, "heads": 4, "context": 128}
    made.write(directory, family, made.own_texts(), seed, **sizes)
    return directory


def length(text: str, answer: str) -> float:
    """A reward that differs between almost any two completions, so that random weights find a signal."""
    return len(text) / 10
