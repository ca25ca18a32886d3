"""A decode step through all layers of a decoder in one call, `decoder.c`: for float32 on a CPU and plain layers.

In a small model Python takes longer from one piece of a layer to the next than many a piece takes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from whet.models import decode_step
from whet.models.attention import Attend
from whet.models.decode_step import Attention
from whet.models.packed_linear import MOST_ROWS, Dense, PackedLinears


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """The modules of one layer. Several linear ones on the same input stand next to each other in what they give."""

    before_attention: nn.Module
    qkv: Sequence[nn.Module]
    q_norm: nn.Module | None = None
    k_norm: nn.Module | None = None
    out: nn.Module
    before_mlp: nn.Module
    up: Sequence[nn.Module]
    """One that GELU follows, or the gate of SwiGLU and what it opens to."""
    down: nn.Module


class DecoderInC:
    """Hidden states of one new token per row. Weights are copied at the first call: they must not change afterwards."""

    def __init__(self, layers: Sequence[Pieces], last: nn.Module, heads: int, linears: PackedLinears) -> None:
        """last: the norm after the layers. heads: of queries."""
        self._pieces, self._last, self._heads, self._linears = layers, last, heads, linears
        self._memory = torch.empty(0)

    def takes(self, attend: Attend, token_ids: Tensor) -> TypeGuard[Attention]:
        """Whether a call for tokens `[B, T]` is one for this."""
        is_step = token_ids.shape[1] == 1 and len(token_ids) <= MOST_ROWS and not torch.is_grad_enabled()
        return is_step and isinstance(attend, Attention) and self._are_plain

    @cached_property
    def _are_plain(self) -> bool:
        """Whether all linear layers are plain ones, and not too much to be copied."""
        linear = [m for p in self._pieces for m in (*p.qkv, p.out, *p.up, p.down)]
        return self._linears.can_pack(linear) is not None

    def __call__(
        self, x: Tensor, attend: Attention, cos: Tensor | None = None, sin: Tensor | None = None
    ) -> Tensor:
        """x `[n, 1, D]` is overwritten. cos and sin `[n, 1, D/H]`: as `decode_step.rotate` takes them."""
        out, threads, step = torch.empty_like(x), torch.get_num_threads(), attend.step
        step.grouped = self._heads // step.kv_heads
        room = attend.memory(step.grouped)
        if len(self._memory) < (size := threads * room + len(x) * self._packed.row):
            self._memory = x.new_empty(size)
        turning = (None, None) if cos is None or sin is None else (cos.data_ptr(), sin.data_ptr())
        structs = ctypes.addressof(self._packed.decoder), ctypes.addressof(step)
        states = x.data_ptr(), *turning, out.data_ptr(), len(x)
        decode_step.library().decode(*structs, *states, self._memory.data_ptr(), room, threads)
        return out

    @cached_property
    def _packed(self) -> _Packed:
        return _Packed(self._pieces, self._last, self._linears)


class _Packed:
    """The layers as the source takes them."""

    def __init__(self, layers: Sequence[Pieces], last: nn.Module, linears: PackedLinears) -> None:
        joined = [_joined(p, linears) for p in layers]
        qkv, out, up, down = joined[0]
        norms = [[_Copy(m) for m in (p.before_attention, p.q_norm, p.k_norm, p.before_mlp)] for p in layers]
        rows = (_Layer * len(layers))(*map(_layer, norms, joined))
        about = len(layers), out.columns, down.depth, len(layers[0].up) == 2
        self._kept = joined, norms, rows, (ending := _Copy(last))  # what pointers point to
        self.decoder = _Decoder(ctypes.addressof(rows), ending.norm, *about)
        self.row = out.columns + out.depth + down.depth + max(qkv.columns, up.columns)
        """Numbers that `decode` needs for a row."""


class _Norm(ctypes.Structure):
    """`struct norm` of the source."""

    _fields_ = (("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p), ("eps", ctypes.c_double))


class _Dense(ctypes.Structure):
    """`struct dense`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weights", "bias")),
        *((name, ctypes.c_int64) for name in ("depth", "columns")),
    )


class _Layer(ctypes.Structure):
    """`struct layer`."""

    _fields_ = (
        *((name, _Norm) for name in ("before_attention", "of_q", "of_k", "before_mlp")),
        *((name, _Dense) for name in ("qkv", "out", "up", "down")),
    )


class _Decoder(ctypes.Structure):
    """`struct decoder`."""

    _fields_ = (
        ("layers", ctypes.c_void_p),
        ("last", _Norm),
        *((name, ctypes.c_int64) for name in ("count", "width", "inner", "is_gated")),
    )


def _joined(pieces: Pieces, linears: PackedLinears) -> list[Dense]:
    """The linear layers as the source names them."""
    found = []
    for modules in (pieces.qkv, (pieces.out,), pieces.up, (pieces.down,)):
        dense = linears.joined(modules)
        assert dense is not None  # `takes` has asked
        found.append(dense)
    return found


def _layer(norms: Sequence[_Copy], joined: Sequence[Dense]) -> _Layer:
    return _Layer(*(n.norm for n in norms), *(_Dense(*d.pointers, d.depth, d.columns) for d in joined))


class _Copy:
    """LayerNorm, an RMSNorm of transformers, or none, with weights of its own."""

    def __init__(self, module: Any) -> None:
        self.norm = _Norm()
        if module is not None:
            bias = module.bias if isinstance(module, nn.LayerNorm) else None
            eps = module.eps if isinstance(module, nn.LayerNorm) else module.variance_epsilon
            self._kept = [None if t is None else t.detach().clone() for t in (module.weight, bias)]
            self.norm = _Norm(*(None if t is None else t.data_ptr() for t in self._kept), eps)
