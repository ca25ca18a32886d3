"""The processes that train together. One process is a world of size 1, and every line of the trainer is the same."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from whet.errors import TrainingError


class World:
    """Sums over processes. Gradients are summed, not averaged: the loss weights carry the global denominator."""

    def __init__(self) -> None:
        is_used = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if is_used else 0
        self.size = dist.get_world_size() if is_used else 1

    def sum(self, *values: float) -> tuple[float, ...]:
        """Each value summed over processes."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return tuple(total.tolist())

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sums every gradient over processes, in place; a missing one counts as zero."""
        if self.size == 1:
            return
        for parameter in parameters:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            dist.all_reduce(gradient)
            parameter.grad = gradient

    def raise_together(self, error: TrainingError | None) -> None:
        """Raises this process's error; and where another process has one, an error here too, instead of waiting."""
        (count,) = self.sum(error is not None)
        if error is not None:
            raise error
        if count:
            raise TrainingError("another process has stopped: its own message says why")

    def shard(self, rows: Tensor) -> Tensor:
        """This process's share of some rows."""
        return rows[self.rank :: self.size]
