"""Linear layers of a decode step in C: `linear.c`."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
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
        self._layers: dict[Sequence[nn.Module], Dense | None] = {}
        self._bytes = 0

    def __call__(self, module: nn.Module, x: Tensor) -> Tensor:
        """A layer on x `[n, ..., D]` without gradients, float32 on a CPU. Other modules are called."""
        library, rows = _library(), x.shape[:-1].numel()
        layer = self.joined((module,)) if rows <= MOST_ROWS else None
        if library is None or layer is None:
            found: Tensor = linear(x, module.weight, module.bias) if is_plain(module) else module(x)
            return found
        x, y = x.contiguous(), x.new_empty(*x.shape[:-1], layer.columns)
        sizes = rows, layer.depth, layer.columns, parts(layer.columns // 8)
        library.linear(x.data_ptr(), *layer.pointers, y.data_ptr(), *sizes)
        return y

    def joined(self, modules: Sequence[nn.Module]) -> Dense | None:
        """Layers on the same input as one, which gives what they give side by side; None where it cannot be."""
        key = tuple(modules)
        if key not in self._layers:
            plain = self.can_pack(modules)
            self._layers[key] = None if plain is None else self._packed(plain)
        return self._layers[key]

    def can_pack(self, modules: Sequence[nn.Module]) -> list[nn.Linear] | None:
        """The same where all are plain layers of whole vectors with code in C, and not too much; else None."""
        plain = [m for m in modules if is_plain(m) and len(m.weight) % 8 == 0 and _is_float32(m)]
        fits = self._bytes + sum(m.weight.nbytes for m in plain) <= MOST_BYTES
        return plain if fits and len(plain) == len(modules) and _library() is not None else None

    def _packed(self, modules: Sequence[nn.Linear]) -> Dense:
        library = _library()
        assert library is not None
        weight = (
            torch.cat(tuple(m.weight for m in modules))
            if len(modules) > 1
            else modules[0].weight.contiguous()
        )
        biases = tuple(m.weight.new_zeros(len(m.weight)) if m.bias is None else m.bias for m in modules)
        bias = None if all(m.bias is None for m in modules) else torch.cat(biases)
        columns, depth = weight.shape
        packed = weight.new_empty(columns // 8, depth, 8)
        library.linear_pack(weight.data_ptr(), packed.data_ptr(), depth, columns, parts(columns // 8))
        self._bytes += weight.nbytes
        return Dense(packed, bias)


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer as `linear.c` takes it."""

    weights: Tensor  # [C / 8, D, 8]
    bias: Tensor | None  # [C]

    @property
    def columns(self) -> int:
        """Numbers that it gives."""
        return 8 * len(self.weights)

    @property
    def depth(self) -> int:
        """Numbers that it takes."""
        return self.weights.shape[1]

    @property
    def pointers(self) -> tuple[int, int | None]:
        """Of weights and bias."""
        return self.weights.data_ptr(), None if self.bias is None else self.bias.data_ptr()


def is_plain(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a module is a linear layer and no more, so that its tensors are all there is to it."""
    return type(module) is nn.Linear and not module._forward_hooks and not module._forward_pre_hooks


def _is_float32(module: nn.Linear) -> bool:
    return all(p.dtype == torch.float32 and p.device.type == "cpu" for p in module.parameters())


@functools.cache
def _library() -> ctypes.CDLL | None:
    return declared("decoder.c", linear="ppppnnnn", linear_pack="ppnnn")
