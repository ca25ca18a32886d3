"""The parts of a decode step that are no matrix product, in C.

A step of a small model is a hundred operations on little data, and torch takes longer to begin one than to do it.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from whet.models.attention import Attend
from whet.models.compiled import load

if TYPE_CHECKING:
    from whet.models.kv_cache import Store

_SOURCE = "decode_step.c"
_TILE = 16
"""Rows of one prompt that are computed together; the source says the same."""


def is_possible(dtype: torch.dtype, device: torch.device, *sizes: int) -> bool:
    """Whether there is compiled code: for float32 on a CPU, and sizes that are whole vectors."""
    fits = device.type == "cpu" and dtype == torch.float32 and all(size % 8 == 0 for size in sizes)
    return fits and load(_SOURCE) is not None


def attention(own: Store, prompts: Store, layout: Mapping[str, Tensor], index: Tensor) -> Attend:
    """Attention of one new token per row, as `KVCache.decode` has it."""
    library = _library()
    kv_heads, size = own.values.shape[2], own.values.shape[4]
    count = min(torch.get_num_threads(), len(index))
    bounds = [len(index) * i // count for i in range(count + 1)]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q = q.contiguous()
        out, grouped = torch.empty_like(q), q.shape[2] // kv_heads
        tensors = (
            *(q, k.contiguous(), v.contiguous(), out, own.keys[layer], own.values[layer]),
            *(prompts.keys[layer], prompts.values[layer]),
            *(layout["order"], layout["prompt"], index, layout["lengths"]),
        )
        numbers = (kv_heads, grouped, size, own.length, prompts.length)
        step = (ctypes.c_int64 * 17)(*(t.data_ptr() for t in tensors), *numbers)
        memory = torch.empty(count, _TILE * grouped * (2 * size + own.length + prompts.length))
        calls = [
            (ctypes.addressof(step), bounds[i], bounds[i + 1], m.data_ptr()) for i, m in enumerate(memory)
        ]
        if count == 1:
            library.decode_attention(*calls[0])
        else:
            list(_pool(count).map(lambda call: library.decode_attention(*call), calls))
        return out

    return attend


def rms_norm(x: Tensor, more: Tensor | None, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich, 1910.07467).

    `more` is added to x before, in place.
    """
    out, width = torch.empty_like(x), len(weight)
    added = 0 if more is None else more.data_ptr()
    _library().rms_norm(
        x.data_ptr(), added, weight.data_ptr(), out.data_ptr(), x.numel() // width, width, eps
    )
    return out


def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotary embedding of q and k `[n, 1, heads, D/H]`, in place; cos and sin `[n, 1, D/H]`, half of sin negated."""
    sizes = (q.shape[0], q.shape[2], k.shape[2], q.shape[3])
    _library().rotate(q.data_ptr(), k.data_ptr(), cos.data_ptr(), sin.data_ptr(), *sizes)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer, 2002.05202), in place of the gate."""
    _library().swiglu(gate.data_ptr(), up.data_ptr(), gate.numel())
    return gate


@functools.cache
def _library() -> ctypes.CDLL:
    library = load(_SOURCE)
    assert library is not None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.decode_attention.argtypes = [pointer, number, number, pointer]
    library.rms_norm.argtypes = [pointer] * 4 + [number] * 2 + [ctypes.c_float]
    library.rotate.argtypes = [pointer] * 4 + [number] * 4
    library.swiglu.argtypes = [pointer] * 2 + [number]
    for name in ("decode_attention", "rms_norm", "rotate", "swiglu"):
        getattr(library, name).restype = None
    return library


_pools: dict[int, ThreadPoolExecutor] = {}


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that call the library; it lets Python go on meanwhile."""
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads)
    return _pools[threads]
