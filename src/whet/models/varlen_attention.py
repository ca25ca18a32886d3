"""Packed attention on a GPU: flash attention (Dao, 2307.08691) over runs of any length, in 16 bits, without padding."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from whet.models.packed_attention import PackedAttention, Packing

_log = logging.getLogger(__name__)
_GAP = 0.02
"""How far outputs and gradients may lie from those of float32, relative to their norm; bf16 has 8 bits."""


@dataclass(frozen=True, slots=True)
class Runs:
    """One of the two attentions: runs of queries behind each other, each with its run of keys."""

    queries: Tensor  # [n + 1] int32, where each run begins, from the first query on, and the end
    keys: Tensor  # [n + 1] int32
    longest: tuple[int, int]  # run of queries, and of keys
    first: int  # packed token that is the first query
    last: int  # packed token behind the last key
    is_causal: bool

    @classmethod
    def of(cls, queries: Tensor, keys: Tensor, first: int, device: torch.device) -> Runs:
        """queries, keys: lengths of runs, none of them 0. first: 0 where both are the same runs, which is causal."""
        ends = [torch.cat([x.new_zeros(1), x.cumsum(0)]).int() for x in (queries, keys)]
        longest = int(queries.max()), int(keys.max())
        last, on_device = int(ends[1][-1]), [x.to(device) for x in ends]
        return cls(on_device[0], on_device[1], longest, first, last, is_causal=not first)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> tuple[Tensor, Tensor]:
        """Output `[n, H, d]` and log-normaliser `[n, H]` of the tokens that ask."""
        out, normaliser, *_ = torch.ops.aten._flash_attention_forward(
            q[self.first :], k[: self.last], v[: self.last], self.queries, self.keys, *self.longest,
            0.0, self.is_causal, False, scale=scale,
        )  # fmt: skip
        return out, normaliser.T

    def gradients(self, grad: Tensor, saved: Sequence[Tensor], scale: float | None) -> list[Tensor]:
        """Of the tokens that ask `[n, H, d]`, and of the keys and values that are asked, `[m, K, d]` each.

        saved: q, k, v, and output and log-normaliser of the WHOLE attention.
        """
        q, k, v, out, normaliser = saved
        no_dropout = torch.zeros(2, dtype=torch.uint64, device=q.device), q.new_empty(0)
        return list(
            torch.ops.aten._flash_attention_backward(
                grad[self.first :].contiguous(), q[self.first :], k[: self.last], v[: self.last],
                out[self.first :], normaliser[self.first :].T.contiguous(), self.queries, self.keys,
                *self.longest, 0.0, self.is_causal, *no_dropout, scale=scale,
            )
        )  # fmt: skip


def packing_on(device: torch.device, prompts: Tensor, completions: Tensor, owners: Tensor) -> Packing:
    """`Packing.of` for tokens that lie on a GPU."""
    lengths = torch.cat([prompts, completions])
    asking = torch.zeros_like(prompts).index_add(0, owners, completions)
    has_any, first = asking > 0, int(prompts.sum())
    cross = Runs.of(asking[has_any], prompts[has_any], first, device) if has_any.any() else None
    return Packing(Runs.of(lengths, lengths, 0, device), cross, first)


@functools.cache
def is_proven(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether flash attention runs on a device, and says of two small prompts what dense attention says."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        _log.info("rows are padded: flash attention is for 16 bits on a GPU, not for %s on %s", dtype, device)
        return False
    try:
        gap = _gap(device, dtype)
    except (AttributeError, RuntimeError, TypeError) as error:
        _log.info("rows are padded: flash attention does not run here (%s)", str(error).partition("\n")[0])
        return False
    if not gap <= _GAP:
        _log.info("rows are padded: flash attention is off by %.1e here", gap)
        return False
    return True


def _gap(device: torch.device, dtype: torch.dtype) -> float:
    """The largest relative distance of output and gradients from dense attention in float32."""
    prompts, completions, owners = (
        torch.tensor([5, 70, 3]),
        torch.tensor([3, 140, 2, 4]),
        torch.tensor([0, 0, 1, 1]),
    )
    lengths = torch.cat([prompts, completions])
    span = torch.arange(len(lengths)).repeat_interleave(lengths).to(device)
    seen = torch.cat([torch.arange(3), owners]).to(device)[span]
    at = torch.arange(len(span), device=device)
    mask = ((span == span[:, None]) | (span == seen[:, None])) & (at <= at[:, None])
    noise = torch.Generator().manual_seed(0)
    q, k, v, grad = (torch.randn(len(span), h, 64, generator=noise).to(device, dtype) for h in (4, 2, 2, 4))
    with torch.enable_grad():
        mine = [x.clone().requires_grad_() for x in (q, k, v)]
        found = PackedAttention.apply(*mine, packing_on(device, prompts, completions, owners), None)
        theirs = [x.float().requires_grad_() for x in (q, k, v)]
        x, y, z = (x.repeat_interleave(4 // x.shape[1], 1).transpose(0, 1) for x in theirs)
        expected = scaled_dot_product_attention(x, y, z, attn_mask=mask).transpose(0, 1)
        pairs = zip(
            [found, *torch.autograd.grad(found, mine, grad)],
            [expected, *torch.autograd.grad(expected, theirs, grad.float())],
            strict=True,
        )
    return max(float((x.detach().float() - y.detach()).norm() / y.detach().norm()) for x, y in pairs)
