"""Keys and values of a generation: of each prompt once, and of every row its own tokens.

The samples of a prompt attend to one copy of its keys: their queries are stacked into one product per prompt, so that
a step reads a prompt once however many samples it has. Both parts are kept dense: row i of a step is row i of the
cache, and prompts in use come before those that are not. Keys lie as `[D/H, T]`, the way the product reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from whet.models.attention import Attend, causal


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSizes:
    """What a model keeps of a token."""

    num_layers: int
    kv_heads: int
    head_size: int
    dtype: torch.dtype
    device: torch.device


class _Store:
    """Keys `[L, R, K, D/H, T]` and values `[L, R, K, T, D/H]` of R rows, K heads and T tokens."""

    def __init__(self, sizes: CacheSizes, rows: int, length: int) -> None:
        self._sizes = sizes
        around = (sizes.num_layers, rows, sizes.kv_heads)
        self.keys = torch.zeros(*around, sizes.head_size, length, dtype=sizes.dtype, device=sizes.device)
        self.values = torch.zeros(*around, length, sizes.head_size, dtype=sizes.dtype, device=sizes.device)

    @property
    def rows(self) -> int:
        return self.keys.shape[1]

    @property
    def length(self) -> int:
        return self.keys.shape[-1]

    def grown(self, rows: int, length: int) -> _Store:
        """This store where it is large enough, else a larger one with the same content."""
        if rows <= self.rows and length <= self.length:
            return self
        larger = _Store(self._sizes, max(rows, self.rows), max(length, self.length))
        larger.keys[:, : self.rows, ..., : self.length] = self.keys
        larger.values[:, : self.rows, :, : self.length] = self.values
        return larger

    def move(self, source: Tensor, target: Tensor) -> None:
        """Copies rows `source` over rows `target`."""
        if len(source):
            self.keys[:, target] = self.keys[:, source]
            self.values[:, target] = self.values[:, source]

    def part(self, layer: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Keys `[rows * K, D/H, length]` and values of the first rows and tokens, as views."""
        keys = self.keys[layer, :rows, :, :, :length].flatten(0, 1)
        return keys, self.values[layer, :rows, :, :length].flatten(0, 1)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which row is a sample of which prompt, and what each may see. Made anew when rows come or go."""

    prompt: Tensor  # [n] of each row
    grid: Tensor | None  # [P * G] the row at place j of prompt p; None where that is row p * G + j
    place: Tensor | None  # [n] where each row stands in the grid
    width: int  # G, rows of the prompt that has most of them
    prompts: int  # P
    longest: int  # tokens of the longest prompt
    hidden: (
        Tensor | None
    )  # [P, 1, 1, longest] added to scores: -inf beyond a prompt's end; None where none is shorter

    @classmethod
    def of(cls, prompt: Tensor, lengths: Tensor) -> Layout:
        """prompt: `[n]`, of each row. lengths: `[P]`, tokens of each prompt; every prompt has a row."""
        count, n = torch.bincount(prompt, minlength=len(lengths)), len(prompt)
        width, longest = int(count.max()), int(lengths.max())
        order = prompt.argsort(stable=True)
        place = torch.empty_like(order)
        rank = torch.arange(n, device=order.device) - (count.cumsum(0) - count)[prompt[order]]
        place[order] = prompt[order] * width + rank
        grid = torch.zeros(len(lengths) * width, dtype=torch.int64, device=order.device)
        grid[place] = torch.arange(n, device=order.device)
        is_plain = n == len(grid) and bool((place[1:] > place[:-1]).all())
        beyond = torch.arange(longest, device=order.device) >= lengths[:, None]
        hidden = None
        if bool(beyond.any()):
            hidden = torch.zeros(beyond.shape, device=order.device).masked_fill_(beyond, -torch.inf)[
                :, None, None
            ]
        return cls(
            prompt,
            None if is_plain else grid,
            None if is_plain else place,
            width,
            len(lengths),
            longest,
            hidden,
        )

    def to_grid(self, q: Tensor) -> Tensor:
        """Queries `[n, K, g, D/H]` -> `[P * K, G * g, D/H]`: those of a prompt's samples below each other."""
        rows = q if self.grid is None else q[self.grid]
        return rows.unflatten(0, (self.prompts, self.width)).transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def to_rows(self, x: Tensor, kv_heads: int) -> Tensor:
        """`[P * K, G * g, C]` -> `[n * K, g, C]`."""
        wide = x.unflatten(0, (-1, kv_heads)).unflatten(2, (self.width, -1)).transpose(1, 2).flatten(0, 1)
        return (wide if self.place is None else wide[self.place]).flatten(0, 1)


class KVCache:
    """The keys and values of a generation, in room that is allocated once and grows only when it must."""

    def __init__(self, sizes: CacheSizes) -> None:
        self._kv_heads = sizes.kv_heads
        self.prompts = _Store(sizes, 0, 0)
        self.own = _Store(sizes, 0, 0)

    def reserve(self, prompts: int, prompt_length: int, rows: int, length: int) -> None:
        """Room for that many prompts and rows, and for tokens of each."""
        self.prompts = self.prompts.grown(prompts, prompt_length)
        self.own = self.own.grown(rows, length)

    def prefill(self, first: int) -> Attend:
        """Causal attention over prompts `[P, T]` that keeps them as the cache's prompts `first` and after."""

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            here, length = slice(first, first + k.shape[0]), k.shape[1]
            self.prompts.keys[layer, here, :, :, :length] = k.permute(0, 2, 3, 1)
            self.prompts.values[layer, here, :, :length] = v.transpose(1, 2)
            return causal(layer, q, k, v)

        return attend

    def decode(self, layout: Layout, index: Tensor) -> Attend:
        """Attention of one new token per row, which is the `index[i]`-th (from 0) of its completion."""
        n, longest = len(index), int(index.max()) + 1
        rows = torch.arange(n, device=index.device)
        unseen = torch.arange(longest, device=index.device) > index[:, None]
        hidden = torch.zeros(unseen.shape, device=index.device).masked_fill_(unseen, -torch.inf)
        mask = hidden[:, None, None] if bool(unseen.any()) else None

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.own.keys[layer, rows, :, :, index] = k[:, 0]
            self.own.values[layer, rows, :, index] = v[:, 0]
            queries = q[:, 0].unflatten(1, (self._kv_heads, -1)) * q.shape[-1] ** -0.5  # [n, K, g, D/H]
            mine = _attended(queries.flatten(0, 1), *self.own.part(layer, n, longest), mask)
            theirs = _attended(
                layout.to_grid(queries),
                *self.prompts.part(layer, layout.prompts, layout.longest),
                layout.hidden,
            )
            out = _joined(mine, (layout.to_rows(x, self._kv_heads) for x in theirs))
            return out.reshape(n, 1, -1, q.shape[-1])

        return attend


def _attended(
    q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Values `[m, g, D/H]` weighted by exp(score - largest), the largest score and the sum of weights, `[m, g, 1]`.

    q: `[m, g, D/H]`, keys `[m, D/H, T]`, values `[m, T, D/H]`; hidden `[rows, 1, 1, T]` is added to the scores.
    """
    scores = _scores(q, keys)
    if hidden is not None:
        scores.unflatten(0, (len(hidden), -1)).add_(hidden)
    largest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(largest).exp_()
    return torch.bmm(weights.to(values.dtype), values), largest, weights.sum(-1, keepdim=True)


def _scores(q: Tensor, keys: Tensor) -> Tensor:
    """`q @ keys` in float32 at least: 16 bits of a score would be too few."""
    if q.element_size() > 2:
        return torch.bmm(q, keys)
    if q.is_cuda:
        return torch.bmm(q, keys, out_dtype=torch.float32)
    return torch.bmm(q.float(), keys.float())


def _joined(one: Iterable[Tensor], other: Iterable[Tensor]) -> Tensor:
    """The softmax over both parts, from what `_attended` says of each."""
    (out_1, largest_1, total_1), (out_2, largest_2, total_2) = one, other
    largest = torch.maximum(largest_1, largest_2)
    share_1, share_2 = (largest_1 - largest).exp_(), (largest_2 - largest).exp_()
    total = total_1.mul_(share_1).add_(total_2 * share_2)
    dtype = out_1.dtype
    return out_1.mul(share_1).add_(out_2.mul(share_2)).div_(total).to(dtype)
