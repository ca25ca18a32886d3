"""Attention of packed tokens: each prompt once, completions behind it, nothing between them.

A completion's token sees its prompt and what stands before it in its own completion. These are two attentions: within
spans (prompts and completions alike, causal), and from all completions of a prompt to that prompt (no mask). Each
gives an output and the logarithm of its normaliser; two outputs over disjoint keys are one attention over both when
they are weighted by their normalisers (online softmax, Milakov and Gimelshein, 1805.02867; ring attention, Liu et al.,
2310.01889, splits the backward pass in the same way).

Packed tokens are M; H query heads, K heads of keys and values, d numbers a head.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from whet.models.attention import Attend

LIKE = 0.75
"""Spans share a block with the longest of it down to this part of its length; the rest is padding."""

_attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_attention_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True, slots=True)
class Spans:
    """Runs of packed tokens."""

    starts: Tensor  # [n] int64
    lengths: Tensor  # [n] int64

    def __getitem__(self, some: Any) -> "Spans":
        return Spans(self.starts[some], self.lengths[some])

    def tokens(self) -> Tensor:
        """The tokens of all runs, one run after the other."""
        ends = self.lengths.cumsum(0)
        total = int(ends[-1]) if len(ends) else 0
        return torch.arange(total) + (self.starts - ends + self.lengths).repeat_interleave(self.lengths)

    def padded(self) -> tuple[Tensor, Tensor]:
        """Tokens `[n, longest]`, the first of a run in place of what it lacks; and where there is one."""
        columns = torch.arange(int(self.lengths.max()))
        is_real = columns < self.lengths[:, None]
        return self.starts[:, None] + torch.where(is_real, columns, 0), is_real


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of queries and the keys that each row sees."""

    queries: Tensor  # [n, Tq], packed tokens
    keys: Tensor  # [n, Tk]
    no_query: Tensor | None  # [n, Tq, 1], where queries are padding
    is_key: Tensor | None  # [n, 1, 1, Tk], where keys are not padding; None if they need no mask
    is_causal: bool


@dataclass(frozen=True, slots=True)
class Blocks:
    """One of the two attentions."""

    blocks: tuple[Block, ...]
    queries: Tensor  # where the results of the tokens that ask stand among all cells of the blocks, in packed order
    keys: Tensor  # the same of the tokens that are asked

    @classmethod
    def of(cls, queries: Spans, keys: Spans, is_causal: bool) -> "Blocks":
        """Each run of queries against its run of keys, blocks of runs of like length."""
        made, q_tokens, k_tokens = [], [], []
        order = queries.lengths.argsort(descending=True, stable=True)
        for some in _alike(order, queries.lengths[order].tolist()):
            asking, is_query = queries[some].padded()
            asked, is_key = keys[some].padded()
            q_tokens.append(torch.where(is_query, asking, -1).flatten())
            k_tokens.append(torch.where(is_key, asked, -1).flatten())
            no_query = None if is_query.all() else ~is_query[:, :, None]
            seen = None if is_causal or is_key.all() else is_key[:, None, None]
            made.append(Block(asking, asked, no_query, seen, is_causal))
        return cls(tuple(made), _inverse(q_tokens), _inverse(k_tokens))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> tuple[Tensor, Tensor]:
        """Output `[n, H, d]` and log-normaliser `[n, H]` of the tokens that ask."""
        found = []
        for block in self.blocks:
            some = _rows(q, block.queries), _rows(k, block.keys), _rows(v, block.keys)
            found.append(_attention(*some, 0.0, block.is_causal, attn_mask=_mask(block, q), scale=scale))
        out, normaliser = zip(*found, strict=True)
        return _packed(out, self.queries), _packed(normaliser, self.queries)

    def gradients(self, grad: Tensor, saved: Sequence[Tensor], scale: float | None) -> list[Tensor]:
        """Of the tokens that ask `[n, H, d]`, and of the keys and values that are asked, `[m, K, d]` each.

        saved: q, k, v, and output and log-normaliser of the WHOLE attention, so that the probabilities are its own.
        """
        q, k, v, out, normaliser = saved
        found = []
        for block in self.blocks:
            weightless = normaliser[block.queries]  # [n, Tq, H]
            if block.no_query is not None:
                weightless = weightless.masked_fill(block.no_query, torch.inf)  # no weight, hence no gradient
            grads = _attention_backward(
                _rows(grad, block.queries), _rows(q, block.queries), _rows(k, block.keys), _rows(v, block.keys),
                _rows(out, block.queries), weightless.transpose(1, 2), 0.0, block.is_causal,
                attn_mask=_mask(block, q), scale=scale,
            )  # fmt: skip
            found.append(grads)
        dq, dk, dv = zip(*found, strict=True)
        return [_packed(dq, self.queries), _packed(dk, self.keys), _packed(dv, self.keys)]


@dataclass(frozen=True, slots=True)
class Packing:
    """Who sees whom."""

    own: Blocks
    prompts: Blocks | None
    """From completions to their prompts; those with completions come first in the packing."""
    first: int
    """The first token of a completion."""

    @classmethod
    def of(cls, prompts: Tensor, completions: Tensor, owners: Tensor) -> "Packing":
        """prompts, completions: lengths, in packed order. owners: the prompt of each completion, ascending."""
        lengths = torch.cat([prompts, completions])
        own = Spans(lengths.cumsum(0) - lengths, lengths)
        first = int(prompts.sum())
        asking = torch.zeros_like(prompts).index_add(0, owners, completions)
        has_any = asking > 0
        queries = Spans(first + asking.cumsum(0) - asking, asking)
        cross = Blocks.of(queries[has_any], own[: len(prompts)][has_any], False) if has_any.any() else None
        return cls(Blocks.of(own, own, True), cross, first)

    def attend(self, _layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
        """An `Attend` of one row of M tokens, `[1, M, heads, d]`. scale: of q k, 1 / sqrt(d) if not given."""
        out: Tensor = PackedAttention.apply(q[0], k[0], v[0], self, scale)
        return out[None]


def flexible(prompts: Tensor, completions: Tensor, owners: Tensor, device: torch.device) -> Attend:
    """The same attention through FlexAttention (torch), which knows what it can leave out; compiled on CUDA."""
    lengths = torch.cat([prompts, completions]).to(device)
    spans = torch.arange(len(lengths), device=device).repeat_interleave(lengths)  # [M]
    seen = torch.cat([torch.arange(len(prompts)), owners]).to(device)[
        spans
    ]  # [M], the prompt that a token sees
    order = torch.arange(len(spans), device=device)  # a prompt stands before its completions

    def is_seen(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return ((spans[k] == spans[q]) | (spans[k] == seen[q])) & (order[k] <= order[q])

    blocks = create_block_mask(is_seen, None, None, len(spans), len(spans), device=str(device))
    attention: Any = _compiled() if device.type == "cuda" else flex_attention

    def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        out: Tensor = attention(q, k, v, block_mask=blocks, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
        return out.transpose(1, 2)

    return attend


@functools.cache
def _compiled() -> Any:
    return torch.compile(flex_attention, dynamic=True)


class PackedAttention(torch.autograd.Function):
    """q `[M, H, d]`, k and v `[M, K, d]` -> `[M, H, d]`."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, packing: Packing, scale: float | None) -> Tensor:
        out, normaliser = packing.own.attend(q, k, v, scale)
        if packing.prompts is not None:
            theirs, their_normaliser = packing.prompts.attend(q, k, v, scale)
            tail, its = out[packing.first :], normaliser[packing.first :]
            weight = (their_normaliser - its).sigmoid().to(out.dtype)
            tail.lerp_(theirs, weight[:, :, None])
            its.copy_(torch.logaddexp(its, their_normaliser))
        ctx.save_for_backward(q, k, v, out, normaliser)
        ctx.packing, ctx.scale = packing, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        packing: Packing = ctx.packing
        saved = ctx.saved_tensors  # read once: with activation checkpointing they can be no more than that
        found = packing.own.gradients(grads[0], saved, ctx.scale)
        if packing.prompts is not None:
            q, *keys_and_values = packing.prompts.gradients(grads[0], saved, ctx.scale)
            found[0][packing.first :] += q
            for mine, theirs in zip(found[1:], keys_and_values, strict=True):
                mine[: len(theirs)] += theirs
        return (*found, None, None)


def _alike(order: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Runs of `order` whose lengths, which fall, are alike."""
    cuts = [0]
    for i, length in enumerate(lengths):
        if length < LIKE * lengths[cuts[-1]]:
            cuts.append(i)
    return list(order.tensor_split(cuts[1:]))


def _inverse(cells: list[Tensor]) -> Tensor:
    """The cell of each token, tokens ascending. cells: the token in each; -1 where there is none."""
    tokens = torch.cat(cells)
    return tokens.argsort(stable=True)[int((tokens < 0).sum()) :]


def _rows(x: Tensor, tokens: Tensor) -> Tensor:
    """`[M, H, d]` -> `[n, H, T, d]` for tokens `[n, T]`."""
    return x.index_select(0, tokens.flatten()).view(*tokens.shape, *x.shape[1:]).transpose(1, 2)


def _packed(blocks: Sequence[Tensor], cells: Tensor) -> Tensor:
    """Of blocks `[n, H, T, ...]` the cells asked for, `[len(cells), H, ...]`."""
    flat = [block.transpose(1, 2).flatten(0, 1) for block in blocks]
    return (torch.cat(flat) if len(flat) > 1 else flat[0]).index_select(0, cells)


def _mask(block: Block, like: Tensor) -> Tensor | None:
    if block.is_key is None:
        return None
    return torch.zeros(block.is_key.shape, dtype=like.dtype).masked_fill(~block.is_key, -torch.inf)
