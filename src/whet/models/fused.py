"""What stands between the matrix products of a layer, with gradients, in one pass over memory each.

torch and transformers make six passes of an RMSNorm and five of a rotary embedding; at 10 million parameters those took
an eighth of an update. The formulas are those of the modules, in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from whet.compiled import SMALL, parts
from whet.models import decode_step
from whet.models.decode_step import library


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

        tensors = x.data_ptr(), 0, weight.data_ptr(), y.data_ptr(), scales.data_ptr()
        library().rms_norm(*tensors, len(scales), width, eps, parts(x.numel(), SMALL))
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
        changes = x.new_zeros(parts(x.numel(), SMALL), width)  # of the weight, by each part
        tensors = x, weight, scales, to_y, dx, changes
        sizes = len(scales), width, len(changes)
        library().rms_norm_backward(*(t.data_ptr() for t in tensors), *sizes)
        return dx, dx if ctx.is_sum else None, changes.sum(0), None


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

    sizes = cos.numel() // size, heads, kv_heads, size
    library().rotate(*(t.data_ptr() for t in (q, k, cos, sin)), *sizes, parts(q.numel(), SMALL))
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


class GELU(torch.autograd.Function):
    """x -> x / 2 (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks and Gimpel, 1606.08415)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        out = torch.empty_like(x)
        _in_eights(library().gelu, x, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        to_x = torch.empty_like(x)
        _in_eights(library().gelu_backward, x, grads[0].contiguous(), to_x)
        return to_x


def gelu(x: Tensor) -> Tensor:
    """GELU by its tanh formula, in C where that is possible."""
    if not decode_step.is_possible(x.dtype, x.device, x.numel()):
        return functional.gelu(x, approximate="tanh")
    found: Tensor = GELU.apply(x)
    return found


def _in_eights(function: Any, *tensors: Tensor) -> None:
    """Calls for all numbers of the tensors, which are a multiple of 8."""
    size = tensors[0].numel()
    function(*(t.data_ptr() for t in tensors), size // 8, parts(size, SMALL))
