"""The parts of a decode step that are no matrix product, in C.

A step of a small model is a hundred operations on little data, and torch takes longer to begin one than to do it.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from whet.compiled import SMALL, declared, load, parts
from whet.models.attention import Attend

if TYPE_CHECKING:
    from whet.models.kv_cache import Store

_SOURCE = "decode_step.c"
_TILE = 16
"""Rows of one prompt that are computed together, at most; the source says the same."""


def is_possible(dtype: torch.dtype, device: torch.device, *sizes: int) -> bool:
    """Whether there is compiled code: for float32 on a CPU, and sizes that are whole vectors."""
    fits = device.type == "cpu" and dtype == torch.float32 and all(size % 8 == 0 for size in sizes)
    return fits and load(_SOURCE) is not None


def attention(own: Store, prompts: Store, layout: Mapping[str, Tensor], index: Tensor) -> Attend:
    """Attention of one new token per row, as `KVCache.decode` has it."""
    kv_heads, size = own.values.shape[2], own.values.shape[4]
    room = own.length + prompts.length

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

        assert len(layout["order"]) == len(index)
        memory = q.new_empty(parts(len(index) * kv_heads), _TILE * grouped * (2 * size + room))
        library().decode_attention(
            ctypes.addressof(step), len(index), memory.data_ptr(), memory.shape[1], len(memory)
        )
        return out

    return attend


def rms_norm(x: Tensor, more: Tensor | None, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich, 1910.07467).

    `more` is added to x before, in place.
    """
    out, width = torch.empty_like(x), len(weight)
    added, rows = 0 if more is None else more.data_ptr(), x.numel() // width
    library().rms_norm(
        x.data_ptr(), added, weight.data_ptr(), out.data_ptr(), 0, rows, width, eps, parts(x.numel(), SMALL)
    )
    return out


def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotary embedding of q and k `[n, 1, heads, D/H]`, in place; cos and sin `[n, 1, D/H]`, half of sin negated."""
    sizes = (q.shape[0], q.shape[2], k.shape[2], q.shape[3])
    pointers = q.data_ptr(), k.data_ptr(), cos.data_ptr(), sin.data_ptr()
    library().rotate(*pointers, *sizes, parts(q.numel(), SMALL))


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer, 2002.05202), in place of the gate."""
    size = gate.numel()
    library().swiglu(gate.data_ptr(), up.data_ptr(), gate.data_ptr(), size // 8, parts(size, SMALL))
    return gate


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled functions; there must be some."""
    found = declared(
        _SOURCE,
        decode_attention="pnpnn",
        rms_norm="pppppnnfn",
        rms_norm_backward="ppppppnnn",
        rotate="ppppnnnnn",
        gelu="ppnn",
        gelu_backward="pppnn",
        swiglu="pppnn",
        swiglu_backward="pppppnn",
    )
    assert found is not None
    return found
