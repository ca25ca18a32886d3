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
        return bool(self._linears.can_pack(linear))

    def __call__(
        self, x: Tensor, attend: Attention, cos: Tensor | None = None, sin: Tensor | None = None
    ) -> Tensor:
        """x `[n, 1, D]` is overwritten. cos and sin `[n, 1, D/H]`: as `decode_step.rotate` takes them."""
        out, threads, step = torch.empty_like(x), torch.get_num_threads(), attend.step
        step.grouped = self._heads // step.kv_heads
        room = attend.memory(step.grouped)
        if len(self._memory) < (size := threads * room + len(x) * self._packed.row):
            self._memory = torch.empty(size)
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
        self._kept = joined, (_Layer * len(layers))(*map(_layer, layers, joined))  # what pointers point to
        about = len(layers), out.columns, down.depth, len(layers[0].up) == 2
        self.decoder = _Decoder(ctypes.addressof(self._kept[1]), _norm(last), *about)
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
    found = map(linears.joined, (pieces.qkv, (pieces.out,), pieces.up, (pieces.down,)))
    return [dense for dense in found if dense is not None]


def _layer(pieces: Pieces, joined: Sequence[Dense]) -> _Layer:
    norms = (pieces.before_attention, pieces.q_norm, pieces.k_norm, pieces.before_mlp)
    return _Layer(*map(_norm, norms), *(_Dense(*d.pointers, d.depth, d.columns) for d in joined))


def _norm(module: Any) -> _Norm:
    """Of LayerNorm, of an RMSNorm of transformers, or of none."""
    if module is None:
        return _Norm()
    if isinstance(module, nn.LayerNorm):
        return _Norm(module.weight.data_ptr(), module.bias.data_ptr(), module.eps)
    return _Norm(module.weight.data_ptr(), None, module.variance_epsilon)
