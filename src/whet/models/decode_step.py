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

if TYPE_CHECKING:
    from whet.models.kv_cache import Store

_SOURCE = "decoder.c"
_TILE = 16
"""Rows of one prompt that are computed together, at most; the source says the same."""


def is_possible(dtype: torch.dtype, device: torch.device, *sizes: int) -> bool:
    """Whether there is compiled code: for float32 on a CPU, and sizes that are whole vectors."""
    fits = device.type == "cpu" and dtype == torch.float32 and all(size % 8 == 0 for size in sizes)
    return fits and load(_SOURCE) is not None


class Attention:
    """Attention of one new token per row, as `KVCache.decode` has it."""

    def __init__(self, own: Store, prompts: Store, layout: Mapping[str, Tensor], index: Tensor) -> None:
        tensors = (
            *(own.keys, own.values, own.places, prompts.keys, prompts.values, prompts.places),
            *(layout["order"], layout["prompt"], index, layout["lengths"]),
        )
        assert len(layout["order"]) == len(index)
        self._kept, self._rows = tensors, len(index)
        _, _, kv_heads, own_length, size = own.values.shape
        sizes = kv_heads, size, own_length, prompts.length, own.values.stride(0), prompts.values.stride(0)
        self.step = Step(*(t.data_ptr() for t in tensors), *sizes)
        self._room: int = 2 * size + own_length + prompts.length

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q `[n, 1, H, D/H]`, k and v `[n, 1, K, D/H]`, which are kept -> `[n, 1, H, D/H]`."""
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        out, step = torch.empty_like(q), self.step
        step.q, step.k, step.v, step.out = (t.data_ptr() for t in (q, k, v, out))
        step.layer, step.grouped, step.q_row, step.kv_row = (
            layer,
            q.shape[2] // k.shape[2],
            q.stride(0),
            k.stride(0),
        )
        memory = q.new_empty(parts(self._rows * step.kv_heads), self.memory(step.grouped))
        library().decode_attention(
            ctypes.addressof(step), self._rows, memory.data_ptr(), memory.shape[1], len(memory)
        )
        return out

    def memory(self, grouped: int) -> int:
        """Numbers that a thread works in; grouped: queries of each key."""
        return _TILE * grouped * self._room


class Step(ctypes.Structure):
    """`struct step` of the source."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("keys", "values", "place")),
        *((name, ctypes.c_void_p) for name in ("prompt_keys", "prompt_values", "prompt_place")),
        *((name, ctypes.c_void_p) for name in ("order", "prompt", "index", "prompt_length")),
        *(
            (name, ctypes.c_int64)
            for name in ("kv_heads", "size", "room", "prompt_room", "own_layer", "prompt_layer")
        ),
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "out")),
        *((name, ctypes.c_int64) for name in ("layer", "grouped", "q_row", "kv_row")),
    )


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
        decode="ppppppnpnn",
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
