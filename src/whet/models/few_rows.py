"""Linear layers of few rows, as a decode step has them, in C."""

from __future__ import annotations

import ctypes
import functools
from typing import TypeGuard

from torch import Tensor, nn
from torch.nn.functional import linear

from whet.models.compiled import load
from whet.models.decode_step import in_parts

MOST_ROWS = 32
"""With more of them a library's own order of the weights pays."""
LEAST_WEIGHTS = 2**16
"""A matrix of fewer stays in the cache of a core, whoever reads it."""


def few_rows(module: nn.Module, x: Tensor) -> Tensor:
    """A linear layer on x `[n, 1, D]` or `[n, D]` without gradients, float32 on a CPU; other modules are called."""
    if not is_plain(module):
        found: Tensor = module(x)
        return found
    weight, bias = module.weight, module.bias
    (columns, depth), rows = weight.shape, x.shape[0]
    library = _library()
    if rows > MOST_ROWS or weight.numel() < LEAST_WEIGHTS or depth % 8 or library is None:
        return linear(x, weight, bias)
    x, y = x.contiguous(), x.new_empty(*x.shape[:-1], columns)
    tensors = (x.data_ptr(), weight.data_ptr(), 0 if bias is None else bias.data_ptr(), y.data_ptr())

    def some(first: int, last: int) -> None:
        library.linear(*tensors, rows, depth, columns, first, last)

    in_parts(columns, some)
    return y


def is_plain(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a module is a linear layer and no more, so that its tensors are all there is to it."""
    return type(module) is nn.Linear and not module._forward_hooks and not module._forward_pre_hooks


@functools.cache
def _library() -> ctypes.CDLL | None:
    found = load("linear.c")
    if found is not None:
        found.linear.argtypes, found.linear.restype = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 5, None
    return found
