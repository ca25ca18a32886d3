"""CUDA graphs of decode steps: the launches of a step are recorded once per shape and replayed as one.

A step of a small model is a thousand launches of a few microseconds, and the host takes longer for them than the GPU
for the work. A graph replays them on the very tensors it was recorded with, so shapes are rounded up to a few sizes,
and what changes between steps is written into those tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from whet.models.kv_cache import Layout, Shape

Step = Callable[[Layout], None]
Record = Callable[[Callable[[], None]], Callable[[], None]]
_LENGTH = 128
"""Lengths are rounded up to a multiple of it."""


def rounded(shape: Shape) -> Shape:
    """Rows and prompts as the next power of two, lengths as a multiple of 128: few shapes, at most twice the work."""
    return Shape(
        rows=_power(shape.rows),
        prompts=_power(shape.prompts),
        samples=_power(shape.samples),
        prompt_length=_multiple(shape.prompt_length),
        own_length=_multiple(shape.own_length),
    )


def recorder() -> Record:
    """Records a step on a CUDA device, which runs nothing, and gives what replays it; all share one pool of memory."""
    pool = torch.cuda.graph_pool_handle()

    def record(step: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            step()
        replay: Callable[[], None] = graph.replay
        return replay

    return record


class Graphs:
    """Steps by shape. The first of a shape runs as it is, which prepares libraries; the second is recorded."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._seen: dict[Any, tuple[Layout, Callable[[], None] | None]] = {}

    def clear(self) -> None:
        """Forgets all: the tensors they read are no longer those."""
        self._seen.clear()

    def run(self, step: Step, layout: Layout) -> None:
        """The step of a layout, whose shape is a rounded one."""
        if layout.shape not in self._seen:
            step(layout)
            self._seen[layout.shape] = layout, None
            return
        held, replay = self._seen[layout.shape]
        if held is not layout:
            held.copy_(layout)
        if replay is None:
            replay = self._record(lambda: step(held))
            self._seen[layout.shape] = held, replay
        replay()


def _power(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _multiple(n: int) -> int:
    return -(-n // _LENGTH) * _LENGTH
