"""Attention of packed tokens and its gradients in C: `packed_attention.c` for float32 on a CPU.

The same as `packed_attention.Packing`, which is made of torch's own kernels; those are slow on small heads.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from whet.compiled import declared, load, parts

_SOURCE = "packed_attention.c"
_SCORES = 2**15
"""Scores that are made at once: with their gradients they fill a part of a core's second cache."""
_ROWS = 64
"""Queries at once, at most."""


def is_possible(q: Tensor) -> bool:
    """Whether there is compiled code for queries `[..., d]`."""
    return (
        q.device.type == "cpu"
        and q.dtype == torch.float32
        and q.shape[-1] % 8 == 0
        and load(_SOURCE) is not None
    )


@dataclass(frozen=True, slots=True)
class Spans:
    """Prompts and then completions, in packed order."""

    starts: Tensor  # [P + C] int64
    lengths: Tensor  # [P + C] int64
    completions: Tensor  # [P + 1] int64, the first completion of each prompt, as a span; and the end
    widest: int
    """Tokens of the longest prompt and of the longest completion, each rounded up to a multiple of 8."""

    @classmethod
    def of(cls, prompts: Tensor, completions: Tensor, owners: Tensor) -> Spans:
        """prompts, completions: lengths, in packed order. owners: the prompt of each completion, ascending."""
        lengths = torch.cat([prompts, completions])
        firsts = len(prompts) + torch.searchsorted(owners, torch.arange(len(prompts) + 1))
        longest = [int(some.max()) if len(some) else 0 for some in (prompts, completions)]
        return cls(lengths.cumsum(0) - lengths, lengths, firsts, sum(-(-n // 8) * 8 for n in longest))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
        """q `[M, H, d]`, k and v `[M, K, d]` -> `[M, H, d]`. scale: of q k, 1 / sqrt(d) if not given."""
        found: Tensor = _Attention.apply(q, k, v, self, q.shape[-1] ** -0.5 if scale is None else scale)
        return found


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, spans: Spans, scale: float) -> Tensor:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        out, normaliser = torch.empty_like(q), q.new_empty(q.shape[:2])
        work = _Work(spans, scale, q, k)
        work.run(
            "packed_attention", (q, k, v, out, normaliser, None, None, None, None), keys=1, rows=2, scores=1
        )
        ctx.save_for_backward(q, k, v, out, normaliser)
        ctx.work = work
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, normaliser = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        tensors = (q, k, v, out, normaliser, grads[0].contiguous(), dq, dk, dv)
        ctx.work.run("packed_attention_backward", tensors, keys=2, rows=3, scores=2)
        return dq, dk, dv, None, None


class _Work:
    """Spans, and the sizes of the tensors that attend."""

    def __init__(self, spans: Spans, scale: float, q: Tensor, k: Tensor) -> None:
        self._spans, self._scale = spans, scale
        self._kv_heads, self._size = k.shape[1:]
        self._grouped = q.shape[1] // self._kv_heads
        most = min(_ROWS, _SCORES // max(spans.widest, 1))
        self._tokens = max(1, most // self._grouped)

    def run(
        self, name: str, tensors: tuple[Tensor | None, ...], *, keys: int, rows: int, scores: int
    ) -> None:
        """Calls a function of the library; keys, rows and scores say how much memory it asks for."""
        spans, number = self._spans, len(self._spans.completions) - 1
        pointers = [None if t is None else t.data_ptr() for t in tensors]
        layout = [t.data_ptr() for t in (spans.starts, spans.lengths, spans.completions)]
        work = _Struct(
            *pointers, *layout, number, self._kv_heads, self._grouped, self._size, self._tokens, self._scale
        )
        wide, queries = spans.widest, self._tokens * self._grouped
        numbers = keys * wide * self._size + queries * (rows * self._size + scores * wide)
        memory = torch.empty(parts(number * self._kv_heads), numbers, dtype=torch.float32)
        _function(name)(ctypes.byref(work), memory.data_ptr(), numbers, len(memory))


class _Struct(ctypes.Structure):
    """`struct work` of the source."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "out", "normaliser", "dout", "dq", "dk", "dv")),
        *((name, ctypes.c_void_p) for name in ("starts", "lengths", "completions")),
        *((name, ctypes.c_int64) for name in ("P", "K", "g", "D", "tokens")),
        ("scale", ctypes.c_double),
    )


@functools.cache
def _function(name: str) -> Callable[..., None]:
    found: Callable[..., None] = getattr(declared(_SOURCE, **{name: "ppnn"}), name)
    return found
