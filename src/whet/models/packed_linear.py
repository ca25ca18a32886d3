"""Linear layers of a decode step in C: `linear.c`."""

from __future__ import annotations

import ctypes
import functools
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from whet.models.compiled import load
from whet.models.decode_step import in_parts

MOST_ROWS = 512
"""With more of them a library's own order of the weights costs nothing."""


class PackedLinears:
    """Linear layers as they are now: their weights are copied, into another order, when a layer is first called."""

    def __init__(self) -> None:
        self._weights: dict[int, Tensor] = {}

    def __call__(self, module: nn.Module, x: Tensor) -> Tensor:
        """A layer on x `[n, ..., D]` without gradients, float32 on a CPU. Other modules are called."""
        if not is_plain(module):
            found: Tensor = module(x)
            return found
        weight, bias, library = module.weight, module.bias, _library()
        columns, depth = weight.shape
        rows = x.numel() // depth
        if rows > MOST_ROWS or columns % 8 or library is None:
            return linear(x, weight, bias)
        x, y = x.contiguous(), x.new_empty(*x.shape[:-1], columns)
        pointers = (
            x.data_ptr(),
            self._packed(library, weight).data_ptr(),
            0 if bias is None else bias.data_ptr(),
            y.data_ptr(),
        )

        def some(first: int, last: int) -> None:
            library.linear(*pointers, rows, depth, columns, 8 * first, 8 * last)

        in_parts(columns // 8, some)
        return y

    def _packed(self, library: ctypes.CDLL, weight: Tensor) -> Tensor:
        """Tied weights are packed once."""
        key = weight.data_ptr()
        if key not in self._weights:
            packed = self._weights[key] = torch.empty_like(weight, memory_format=torch.contiguous_format)
            source = weight.contiguous()

            def some(first: int, last: int) -> None:
                library.linear_pack(
                    source.data_ptr(), packed.data_ptr(), weight.shape[1], 8 * first, 8 * last
                )

            in_parts(len(weight) // 8, some)
        return self._weights[key]


def is_plain(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a module is a linear layer and no more, so that its tensors are all there is to it."""
    return type(module) is nn.Linear and not module._forward_hooks and not module._forward_pre_hooks


@functools.cache
def _library() -> ctypes.CDLL | None:
    found = load("linear.c")
    if found is not None:
        found.linear.argtypes, found.linear.restype = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 5, None
        found.linear_pack.argtypes, found.linear_pack.restype = (
            [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 3,
            None,
        )
    return found
