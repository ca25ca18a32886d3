"""The parts of a decode step that are no matrix product, on a GPU: one kernel each.

torch takes 60 small kernels for a layer, and at a few hundred rows each of them takes as long to begin as to run. These
are written in triton, which comes with torch for CUDA; where it is not there, or does not say what torch says, torch
does the work.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu

from whet.models.attention import Attend

_log = logging.getLogger(__name__)
_GAP = 0.02
"""How far results may lie from those of float32, relative to their norm; bf16 has 8 bits."""
_LARGEST_HEAD = 256
_SMALLEST_PRODUCT = 16
"""Rows of the smallest matrix product that there is."""


class Kept(NamedTuple):
    """Keys `[L, R, K, D/H, T]` and values `[L, R, K, T, D/H]`."""

    keys: Tensor
    values: Tensor


def is_possible(dtype: torch.dtype, device: torch.device, head_size: int) -> bool:
    """Whether there are kernels: for 16 bits on a GPU where they say what torch says."""
    fits = device.type == "cuda" and dtype in (torch.bfloat16, torch.float16) and head_size <= _LARGEST_HEAD
    return fits and is_proven(device, dtype)


def attention(own: Kept, prompts: Kept, layout: Mapping[str, Tensor], index: Tensor) -> Attend:
    """Attention of one new token per row, as `KVCache.decode` has it; own: of completions.

    layout: the `prompt` of each row, and the `lengths` of prompts. A row of the step reads its own tokens and its
    prompt's, and no more, whatever the step is shaped for.
    """
    kernels, (kv_heads, size) = _kernels(), own.values.shape[2::2]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (_with_whole_rows(x) for x in (q, k, v))
        grouped = q.shape[2] // kv_heads
        out = q.new_empty(q.shape)
        with torch.cuda.device_of(q):
            kernels.attend[len(q), kv_heads](
                q, k, v, out, own.keys[layer], own.values[layer], prompts.keys[layer], prompts.values[layer],
                layout["prompt"], index, layout["lengths"], q.stride(0), k.stride(0), v.stride(0),
                own.keys.shape[-1], prompts.keys.shape[-1], size**-0.5 * math.log2(math.e),
                HEADS=kv_heads, G=grouped, G_PAD=max(_SMALLEST_PRODUCT, _power(grouped)),
                D=size, D_PAD=max(_SMALLEST_PRODUCT, _power(size)), BLOCK=64,
            )  # fmt: skip
        return out

    return attend


def rms_norm(x: Tensor, more: Tensor | None, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich, 1910.07467).

    `more` is added to x before, in place.
    """
    out, width = torch.empty_like(x), len(weight)
    count, pad = x.numel() // width, _power(width)
    rows = max(1, 1024 // pad)
    with torch.cuda.device_of(x):
        _kernels().rms_norm[_parts(count, rows),](
            x, x if more is None else more, weight, out, eps, count,
            width=width, PAD=pad, ROWS=rows, IS_SUM=more is not None, num_warps=4 if pad <= 4096 else 8,
        )  # fmt: skip
    return out


def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotary embedding of q and k `[n, 1, heads, D/H]`, in place; cos and sin `[n, 1, D/H]`, half of sin negated."""
    heads, kv_heads, half = q.shape[2], k.shape[2], q.shape[3] // 2
    with torch.cuda.device_of(q):
        _kernels().rotate[len(q),](
            q, k, cos, sin, q_heads=heads, k_heads=kv_heads, Q_PAD=_power(heads), K_PAD=_power(kv_heads),
            half=half, PAD=_power(half),
        )  # fmt: skip


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer, 2002.05202), in place of the gate."""
    _in_blocks("swiglu", gate, up, gate)
    return gate


class SwiGLU(torch.autograd.Function):
    """gate, up -> silu(gate) * up. Only these two are kept for the gradient; torch would keep silu(gate) as well."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        ctx.save_for_backward(gate, up)
        out = torch.empty_like(gate)
        _in_blocks("swiglu", gate, up, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        to_gate, to_up = torch.empty_like(gate), torch.empty_like(up)
        _in_blocks("swiglu_backward", gate, up, grads[0].contiguous(), to_gate, to_up)
        return to_gate, to_up


def _in_blocks(kernel: str, *tensors: Tensor) -> None:
    """Launches a kernel over all numbers of tensors of one size."""
    count = tensors[0].numel()
    with torch.cuda.device_of(tensors[0]):
        getattr(_kernels(), kernel)[_parts(count, 1024),](*tensors, count, BLOCK=1024)


@functools.cache
def is_proven(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels run on a device, and say of a few random numbers what torch says."""
    try:
        found = gaps(device, dtype)
    except Exception as error:  # noqa: BLE001  a compiler of its own has many ways to fail
        _log.info("decode steps are torch's: kernels do not run here (%s)", str(error).partition("\n")[0])
        return False
    if not max(found.values()) <= _GAP:
        _log.info("decode steps are torch's: kernels are off here by %s", found)
        return False
    return True


@torch.inference_mode(False)
@torch.no_grad()
def gaps(
    device: torch.device, dtype: torch.dtype, heads: tuple[int, int] = (2, 3), size: int = 64
) -> dict[str, float]:
    """The relative distance of each kernel from torch in float32. heads: of keys, and queries of each."""
    noise, rows, width = torch.Generator().manual_seed(0), 5, 200

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=noise).to(device, dtype)

    x, more, weight = random(rows, 1, width), random(rows, 1, width), random(width)
    added = (x + more).float()
    normed = added * (added.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight.float()
    gate, up = random(rows, 1, width), random(rows, 1, width)
    with_gradients = _gate_gap(gate, up, random(rows, 1, width))
    gated = silu(gate.float()) * up.float()
    q, k = random(rows, 1, heads[0] * heads[1], size), random(rows, 1, heads[0], size)
    cos, sin = random(rows, 1, size), random(rows, 1, size)
    turned = torch.cat([y.float() * cos[:, :, None].float() for y in (q, k)], 2)
    turned += torch.cat([y.roll(size // 2, -1).float() * sin[:, :, None].float() for y in (q, k)], 2)
    rotate(q, k, cos, sin)
    return {
        "norm": _gap(rms_norm(x, more, weight, 1e-6), normed),
        "sum": _gap(x, added),
        "gate": _gap(swiglu(gate, up), gated),
        "gate with gradients": with_gradients,
        "rotation": _gap(torch.cat((q, k), 2), turned),
        "attention": _attention_gap(q, random(rows, 2, heads[0], size), random),
    }


@torch.enable_grad()
def _gate_gap(gate: Tensor, up: Tensor, grad: Tensor) -> float:
    """Of silu(gate) * up and its gradients."""
    mine = [x.clone().requires_grad_() for x in (gate, up)]
    theirs = [x.float().requires_grad_() for x in (gate, up)]
    found, expected = SwiGLU.apply(*mine), silu(theirs[0]) * theirs[1]
    pairs = zip(
        [found, *torch.autograd.grad(found, mine, grad)],
        [expected, *torch.autograd.grad(expected, theirs, grad.float())],
        strict=True,
    )
    return max(_gap(x.detach(), y.detach()) for x, y in pairs)


def _attention_gap(q: Tensor, new: Tensor, random: Any) -> float:
    """Rows of three prompts of unequal lengths, at tokens of their own. new: key and value of each row."""
    (rows, kv_heads), size, own_room, room = new.shape[::2], q.shape[3], 136, 144
    own = Kept(random(1, rows, kv_heads, size, own_room), random(1, rows, kv_heads, own_room, size))
    prompts = Kept(random(1, 3, kv_heads, size, room), random(1, 3, kv_heads, room, size))
    index = torch.tensor([0, 1, 130, 63, 64, 127, 128, 7][:rows])
    prompt, lengths = torch.tensor([1, 0, 2, 1, 1, 0, 2, 2][:rows]), torch.tensor([5, 140, 1])
    layout = {"prompt": prompt.to(q.device), "lengths": lengths.to(q.device)}
    k, v = new[:, :1], new[:, 1:]
    found, expected = attention(own, prompts, layout, index.to(q.device))(0, q, k, v), []
    for row, (at, p) in enumerate(zip(index.tolist(), prompt.tolist(), strict=True)):
        end = int(lengths[p])
        keys = torch.cat((prompts.keys[0, p, :, :, :end], own.keys[0, row, :, :, : at + 1]), -1).float()
        values = torch.cat((prompts.values[0, p, :, :end], own.values[0, row, :, : at + 1]), 1).float()
        queries = q[row, 0].unflatten(0, (kv_heads, -1)).float()
        expected.append(((queries @ keys * size**-0.5).softmax(-1) @ values).flatten(0, 1))
        kept = own.keys[0, row, :, :, at], own.values[0, row, :, at]
        if not (torch.equal(kept[0], k[row, 0]) and torch.equal(kept[1], v[row, 0])):
            return math.inf
    return _gap(found[:, 0], torch.stack(expected))


def _gap(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


@functools.cache
def _kernels() -> Any:
    """Raises where triton is not installed."""
    from whet.models import decode_kernels

    return decode_kernels


def _with_whole_rows(x: Tensor) -> Tensor:
    """x `[n, 1, heads, D/H]`, copied if the numbers of a row do not lie beside each other."""
    return x if x.stride(3) == 1 and x.stride(2) == x.shape[3] else x.contiguous()


def _power(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _parts(count: int, of: int) -> int:
    return -(-count // of)
