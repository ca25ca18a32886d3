"""Keys and values of a generation: of each prompt once, and of every row its own tokens.

The samples of a prompt attend to one copy of its keys: their queries are stacked into one product per prompt, so that
a step reads a prompt once however many samples it has. Both parts are kept dense: row i of a step is row i of the
cache, wherever it lies, and prompts in use come before those that are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from whet.models import decode_step, decode_step_gpu
from whet.models.attention import Attend, causal


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSizes:
    """What a model keeps of a token."""

    num_layers: int
    kv_heads: int
    head_size: int
    dtype: torch.dtype
    device: torch.device

    @property
    def token_bytes(self) -> int:
        """Bytes of a token's keys and values."""
        return 2 * self.num_layers * self.kv_heads * self.head_size * self.dtype.itemsize


class Store:
    """Keys and values of R rows, K heads and room for T tokens, a multiple of 8.

    Values lie as `[L, R, K, T, D/H]`; keys as `[L, R, K, D/H, T]`, or as `[L, R, K, T / 8, D/H, 8]` for compiled code.
    """

    def __init__(self, sizes: CacheSizes, rows: int, length: int) -> None:
        self._sizes = sizes
        self.rows, self.length = rows, _room(length)
        about = sizes.dtype, sizes.device, sizes.head_size
        self.is_compiled, self.has_kernels = (
            decode_step.is_possible(*about),
            decode_step_gpu.is_possible(*about),
        )
        around, size = (sizes.num_layers, rows, sizes.kv_heads), sizes.head_size
        of_keys = (self.length // 8, size, 8) if self.is_compiled else (size, self.length)
        # Code in C replaces what a key that is none says; elsewhere it is weighted by zero, and must be a number.
        made = torch.empty if self.is_compiled else torch.zeros
        self.keys = made(*around, *of_keys, dtype=sizes.dtype, device=sizes.device)
        self.places = torch.arange(
            rows
        )  # where each row lies; compiled code looks there, elsewhere rows are moved
        self.values = made(*around, self.length, size, dtype=sizes.dtype, device=sizes.device)

    def sized(self, rows: int, length: int, is_tight: bool) -> Store:
        """This store where it is large enough, else another with the same content.

        is_tight: that one has room for so much and no more, which has to be all that is in use.
        """
        if rows <= self.rows and length <= self.length:
            return self
        if not is_tight:
            rows, length = max(rows, self.rows), max(length, self.length)
        other = Store(self._sizes, rows, length)
        count, shared = min(self.rows, other.rows), min(self.length, other.length)
        here = self.places[:count] if self.is_compiled else slice(count)
        if self.is_compiled:
            other.keys[:, :count, :, : shared // 8] = self.keys[:, here, :, : shared // 8]
        else:
            other.keys[:, :count, ..., :shared] = self.keys[:, here, ..., :shared]
        other.values[:, :count, :, :shared] = self.values[:, here, :, :shared]
        return other

    def move(self, source: Tensor, target: Tensor) -> None:
        """Puts rows `source` in place of rows `target`, and something where they were."""
        if self.is_compiled:
            both = torch.cat((source, target))
            self.places[both] = self.places[both.roll(len(source))]
        else:
            self.keys[:, target] = self.keys[:, source]
            self.values[:, target] = self.values[:, source]

    def fill(self, layer: int, first: int, k: Tensor, v: Tensor) -> None:
        """Keeps the first tokens of rows `first` and after; k and v are `[rows, T, K, D/H]`."""
        length = k.shape[1]
        here = self.places[first : first + len(k)] if self.is_compiled else slice(first, first + len(k))
        self.values[layer, here, :, :length] = v.transpose(1, 2)
        if self.is_compiled:
            k = pad(k, (0, 0, 0, 0, 0, -length % 8)).unflatten(1, (-1, 8))  # [rows, T / 8, 8, K, D/H]
            self.keys[layer, here, :, : k.shape[1]] = k.permute(0, 3, 1, 4, 2)
        else:
            self.keys[layer, here, :, :, :length] = k.permute(0, 2, 3, 1)

    def part(self, layer: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Keys `[rows * K, D/H, length]` and values of the first rows and tokens, as views."""
        keys = self.keys[layer, :rows, :, :, :length].flatten(0, 1)
        return keys, self.values[layer, :rows, :, :length].flatten(0, 1)

    @property
    def kept(self) -> decode_step_gpu.Kept:
        """All of it, for kernels."""
        return decode_step_gpu.Kept(self.keys, self.values)


class Shape(NamedTuple):
    """The sizes of a step; at least those of what is in it."""

    rows: int
    prompts: int
    samples: int
    """Of one prompt."""
    prompt_length: int
    own_length: int
    """Tokens of a completion, the newest one included."""

    @property
    def tokens(self) -> int:
        """Tokens that a cache of this shape has room for: of each prompt once, and of every row its own."""
        return self.prompts * _room(self.prompt_length) + self.rows * _room(self.own_length)


def _room(length: int) -> int:
    return -(-length // 8) * 8


class Layout:
    """Which row is a sample of which prompt. Made anew when rows come or go."""

    def __init__(self, prompts: Sequence[int], lengths: Sequence[int], shape: Shape, store: Store) -> None:
        """prompts: of each row. lengths: tokens of each prompt; every prompt has a row. store: that it is for."""
        self.shape = shape
        prompt = torch.tensor(prompts)
        if store.has_kernels:
            ends = torch.tensor(lengths)
            self.tensors = {"prompt": _filled(prompt, shape.rows), "lengths": _filled(ends, shape.prompts)}
        else:
            order = prompt.argsort(stable=True)  # [n] rows, those of a prompt after each other
            self.tensors = {"order": order, "prompt": prompt, "lengths": torch.tensor(lengths)}
            if not store.is_compiled:
                self.tensors = _grid(prompt, order, lengths, shape)
        self.tensors = {name: tensor.to(store.keys.device) for name, tensor in self.tensors.items()}

    def copy_(self, other: Layout) -> None:
        """Takes over what another of the same shape says, in place."""
        for name, tensor in self.tensors.items():
            tensor.copy_(other.tensors[name])

    def to_grid(self, q: Tensor) -> Tensor:
        """Queries `[n, K, g, D/H]` -> `[P * K, G * g, D/H]`: those of a prompt's samples below each other."""
        wide: Tensor = q[self.tensors["row"]].unflatten(0, (self.shape.prompts, self.shape.samples))
        return wide.transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def to_rows(self, x: Tensor, kv_heads: int) -> Tensor:
        """`[P * K, G * g, C]` -> `[n * K, g, C]`."""
        wide: Tensor = x.unflatten(0, (-1, kv_heads)).unflatten(2, (self.shape.samples, -1))
        return wide.transpose(1, 2).flatten(0, 1)[self.tensors["place"]].flatten(0, 1)


def _filled(numbers: Tensor, count: int) -> Tensor:
    """With zeros behind them: the first prompt for rows that nobody looks at."""
    return pad(numbers, (0, count - len(numbers)))


def _grid(prompt: Tensor, order: Tensor, lengths: Sequence[int], shape: Shape) -> dict[str, Tensor]:
    """Rows as places `[P, G]`: the row at each place, the place of each row, and what is beyond a prompt's end."""
    count = torch.bincount(prompt, minlength=shape.prompts)
    rank = torch.arange(len(order)) - (count.cumsum(0) - count)[prompt[order]]
    place = torch.zeros(shape.rows, dtype=torch.int64)
    place[order] = prompt[order] * shape.samples + rank
    row = torch.zeros(shape.prompts * shape.samples, dtype=torch.int64)
    row[place[: len(order)]] = torch.arange(len(order))
    ends = torch.ones(shape.prompts, dtype=torch.int64)
    ends[: len(lengths)] = torch.tensor(lengths)
    beyond = torch.arange(shape.prompt_length) >= ends[:, None]
    return {"row": row, "place": place, "beyond": _minus_infinity(beyond)}


class KVCache:
    """The keys and values of a generation, in room that is allocated once and grows only when it must."""

    def __init__(self, sizes: CacheSizes, is_tight: bool = False) -> None:
        """is_tight: room that has become too small is given up for just what is asked for, and in use."""
        self._sizes, self._is_tight = sizes, is_tight
        self.prompts = Store(sizes, 0, 0)
        self.own = Store(sizes, 0, 0)

    def reserve(self, prompts: int, prompt_length: int, rows: int, length: int) -> bool:
        """Room for that many prompts and rows, and for tokens of each; whether anything had to be made anew.

        All that is in use has to be counted.
        """
        before = self.prompts, self.own
        self.prompts = self.prompts.sized(prompts, prompt_length, self._is_tight)
        self.own = self.own.sized(rows, length, self._is_tight)
        return before != (self.prompts, self.own)

    def covering(self, shape: Shape) -> Shape:
        """What a step of a shape may be laid out for: kernels read what is there and no more, so only rows count."""
        if not self.own.has_kernels:
            return shape
        return Shape(shape.rows, self.prompts.rows, 1, self.prompts.length, self.own.length)

    def prefill(self, first: int) -> Attend:
        """Causal attention over prompts `[P, T]` that keeps them as the cache's prompts `first` and after."""

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.prompts.fill(layer, first, k, v)
            return causal(layer, q, k, v)

        return attend

    def decode(self, layout: Layout, index: Tensor) -> Attend:
        """Attention of one new token per row, which is the `index[i]`-th (from 0) of its completion.

        Nothing in it depends on what a tensor holds, so that a graph of it can be replayed.
        """
        if self.own.is_compiled:
            return decode_step.Attention(self.own, self.prompts, layout.tensors, index)
        if self.own.has_kernels:
            return decode_step_gpu.attention(self.own.kept, self.prompts.kept, layout.tensors, index)
        shape, kv_heads = layout.shape, self._sizes.kv_heads
        rows = torch.arange(shape.rows, device=index.device)
        unseen = _minus_infinity(torch.arange(shape.own_length, device=index.device) > index[:, None])

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.own.keys[layer, rows, :, :, index] = k[:, 0]
            self.own.values[layer, rows, :, index] = v[:, 0]
            queries = q[:, 0].unflatten(1, (kv_heads, -1)) * q.shape[-1] ** -0.5  # [n, K, g, D/H]
            own = self.own.part(layer, shape.rows, shape.own_length)
            shared = self.prompts.part(layer, shape.prompts, shape.prompt_length)
            mine = _attended(queries.flatten(0, 1), *own, unseen)
            theirs = _attended(layout.to_grid(queries), *shared, layout.tensors["beyond"])
            out = _joined(mine, (layout.to_rows(x, kv_heads) for x in theirs))
            return out.reshape(shape.rows, 1, -1, q.shape[-1])

        return attend


def _attended(q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values `[m, g, D/H]` weighted by exp(score - largest), the largest score and the sum of weights, `[m, g, 1]`.

    q: `[m, g, D/H]`, keys `[m, D/H, T]`, values `[m, T, D/H]`; hidden `[rows, 1, 1, T]` is added to the scores.
    """
    scores = _scores(q, keys)
    scores.unflatten(0, (len(hidden), -1)).add_(hidden)
    largest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(largest).exp_()
    return torch.bmm(weights.to(values.dtype), values), largest, weights.sum(-1, keepdim=True)


def _minus_infinity(where: Tensor) -> Tensor:
    """0 and -inf, to be added to scores: `[R, T]` -> `[R, 1, 1, T]`."""
    return torch.zeros(where.shape, device=where.device).masked_fill_(where, -torch.inf)[:, None, None]


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
