"""Linear layers of a decode step in C: `linear.c`."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from whet.compiled import declared, parts

MOST_ROWS = 512
"""With more of them a library's own order of the weights costs nothing."""
MOST_BYTES = 2**31
"""Of copied weights; a library does the products of the layers beyond."""


class PackedLinears:
    """Linear layers as they are now: their weights are copied, into another order, when a layer is first called."""

    def __init__(self) -> None:
        self._layers: dict[nn.Module, _Layer | None] = {}
        self._weights: dict[tuple[int, torch.Size], Tensor] = {}

    def __call__(self, module: nn.Module, x: Tensor) -> Tensor:
        """A layer on x `[n, ..., D]` without gradients, float32 on a CPU. Other modules are called."""
        if module not in self._layers:
            self._layers[module] = self._packed(module)
        layer, rows = self._layers[module], x.shape[:-1].numel()
        if layer is None or rows > MOST_ROWS:
            found: Tensor = linear(x, module.weight, module.bias) if is_plain(module) else module(x)
            return found
        x, y = x.contiguous(), x.new_empty(*x.shape[:-1], layer.columns)
        sizes = rows, layer.depth, layer.columns
        layer.function(
            x.data_ptr(), layer.weights, layer.bias, y.data_ptr(), *sizes, parts(layer.columns // 8)
        )
        return y

    def _packed(self, module: nn.Module) -> _Layer | None:
        """None for what is no plain layer, has no code in C, or is too much. Tied weights are packed once."""
        library = _library()
        if library is None or not is_plain(module) or len(module.weight) % 8 or not _is_float32(module):
            return None
        weight, bias = module.weight.contiguous(), module.bias
        columns, depth = weight.shape
        place = weight.data_ptr(), weight.shape
        if place not in self._weights:
            if sum(kept.nbytes for kept in self._weights.values()) + weight.nbytes > MOST_BYTES:
                return None
            packed = self._weights[place] = torch.empty_like(weight)
            library.linear_pack(weight.data_ptr(), packed.data_ptr(), depth, columns, parts(columns // 8))
        kept = self._weights[place]
        return _Layer(library.linear, kept.data_ptr(), 0 if bias is None else bias.data_ptr(), columns, depth)


@dataclass(frozen=True, slots=True)
class _Layer:
    """What a call needs of a layer."""

    function: Callable[..., None]
    weights: int
    bias: int
    columns: int
    depth: int


def is_plain(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a module is a linear layer and no more, so that its tensors are all there is to it."""
    return type(module) is nn.Linear and not module._forward_hooks and not module._forward_pre_hooks


def _is_float32(module: nn.Linear) -> bool:
    return all(p.dtype == torch.float32 and p.device.type == "cpu" for p in module.parameters())


@functools.cache
def _library() -> ctypes.CDLL | None:
    return declared("linear.c", linear="ppppnnnn", linear_pack="ppnnn")
