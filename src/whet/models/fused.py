"""What stands between the matrix products of a layer, with gradients, in one pass over memory each.

torch and transformers make six passes of an RMSNorm and five of a rotary embedding; at 10 million parameters those took
an eighth of an update. The formulas are those of the modules, in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from whet.models.decode_step import in_parts, library

_BYTES = 4


class Norm(torch.autograd.Function):
    """x, more, weight, eps -> x + more, and its RMSNorm y = x / sqrt(mean(x^2) + eps) * weight.

    With r = 1 / sqrt(mean(x^2) + eps): dx = r (dy w - x r^2 mean(dy w x)), dw = sum of dy x r (1910.07467, section 3).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, more: Tensor | None, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        x = x.contiguous() if more is None else x + more
        width, y = len(weight), torch.empty_like(x)
        scales = x.new_empty(x.numel() // width)

        def some(first: int, last: int) -> None:
            at = first * width * _BYTES
            library().rms_norm(
                x.data_ptr() + at, 0, weight.data_ptr(), y.data_ptr() + at, scales.data_ptr() + first * _BYTES,
                last - first, width, eps,
            )  # fmt: skip

        in_parts(len(scales), some)
        ctx.save_for_backward(x, weight, scales)
        ctx.is_sum = more is not None
        ctx.set_materialize_grads(False)
        return x, y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, scales = ctx.saved_tensors
        to_x, to_y = grads
        if to_y is None:
            return to_x, to_x if ctx.is_sum else None, None, None
        to_y, width = to_y.contiguous(), len(weight)
        dx = torch.zeros_like(x) if to_x is None else to_x.clone(memory_format=torch.contiguous_format)
        changes: list[Tensor] = []

        def some(first: int, last: int) -> None:
            at, change = first * width * _BYTES, torch.zeros_like(weight)
            changes.append(change)
            library().rms_norm_backward(
                x.data_ptr() + at, weight.data_ptr(), scales.data_ptr() + first * _BYTES, to_y.data_ptr() + at,
                dx.data_ptr() + at, change.data_ptr(), last - first, width,
            )  # fmt: skip

        in_parts(len(scales), some)
        return dx, dx if ctx.is_sum else None, torch.stack(changes).sum(0), None


class Rotate(torch.autograd.Function):
    """q `[..., H, d]`, k `[..., K, d]`, cos and sin `[..., d]` -> q and k rotated (Su et al., 2104.09864).

    The first half of sin is negated. The gradient is rotated back.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cos, sin)
        return _rotated(q, k, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return *_rotated(grads[0], grads[1], cos, -sin), None, None


def _rotated(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    q, k = (x.clone(memory_format=torch.contiguous_format) for x in (q, k))
    (heads, size), kv_heads = q.shape[-2:], k.shape[-2]

    def some(first: int, last: int) -> None:
        starts = [(q, heads), (k, kv_heads), (cos, 1), (sin, 1)]
        pointers = [t.data_ptr() + first * n * size * _BYTES for t, n in starts]
        library().rotate(*pointers, last - first, heads, kv_heads, size)

    in_parts(cos.numel() // size, some)
    return q, k


class SwiGLU(torch.autograd.Function):
    """gate, up -> silu(gate) * up (Shazeer, 2002.05202)."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        ctx.save_for_backward(gate, up)
        out = torch.empty_like(gate)
        _in_eights(library().swiglu, gate, up, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        to_gate, to_up = torch.empty_like(gate), torch.empty_like(up)
        _in_eights(library().swiglu_backward, gate, up, grads[0].contiguous(), to_gate, to_up)
        return to_gate, to_up


def _in_eights(function: Any, *tensors: Tensor) -> None:
    """Calls over all numbers of the tensors, which are a multiple of 8."""

    def some(first: int, last: int) -> None:
        function(*(t.data_ptr() + 8 * first * _BYTES for t in tensors), 8 * (last - first))

    in_parts(tensors[0].numel() // 8, some)
