"""The completions in flight: admitted together with their prompts, moved on by a token, and landed when they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from whet.engines._graphs import Graphs, rounded
from whet.engines._rows import Rows, Standing
from whet.engines._wishes import OnToken, Wish, completion
from whet.functional.logprobs import rows_at_once
from whet.functional.sampling import sample
from whet.models.attention import Attend
from whet.models.kv_cache import CacheSizes, KVCache, Layout, Shape, Store
from whet.text.stopping import Ending
from whet.types import Completion, SamplingParams

PREFILL_TOKENS = 8192
"""Padded tokens of prompts that are computed at once, so that what they take does not grow with their number."""
_STRIDE = 8
"""Steps between two looks at what a graph has sampled: a row is on average four tokens late in leaving."""
_AHEAD = 32
"""Tokens of a completion for which a layout is made in advance."""


class DecoderLike(Protocol):
    """What the engine asks of a model."""

    @property
    def sizes(self) -> CacheSizes:
        """What a cache keeps of a token."""
        ...

    def __call__(self, token_ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states `[B, T, D]` of token ids `[B, T]` at positions `[B, T]`."""
        ...

    @property
    def vocab_size(self) -> int:
        """V."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits `[..., V]`."""
        ...

    def reserve(self, length: int) -> bool:
        """Prepares for positions below `length`; whether anything had to be made anew."""
        ...


def width_of(completion: int, graphs: bool) -> int:
    """Tokens that a row has room for: graphs sample some beyond the end of a completion."""
    return completion + (_STRIDE - 1 if graphs else 0)


def room_for(shape: Shape, graphs: bool) -> Shape:
    """The room that is made for what has this shape."""
    return rounded(shape) if graphs else shape


class Deck:
    """A model and the tensors of a generation: for one call, or kept from call to call where graphs read them."""

    def __init__(
        self,
        decoder: DecoderLike,
        params: SamplingParams,
        graphs: Graphs | None = None,
        is_tight: bool = False,
    ) -> None:
        """graphs: replay steps instead of launching them, and look at their tokens every few steps only.

        is_tight: the cache keeps no room beyond what is in use when it has to be made anew.
        """
        self.graphs = graphs
        self.stride = 1 if graphs is None else _STRIDE
        self.width = width_of(params.max_completion_length, graphs is not None)
        self.decoder = decoder
        self.cache = KVCache(decoder.sizes, is_tight)
        self.rows = Rows(self.width, decoder.sizes.device)

    def reserve(self, prompts: int, prompt_length: int, rows: int) -> None:
        """Room for that many prompts and rows, those in use included."""
        shape = room_for(Shape(rows, prompts, 1, prompt_length, self.width), self.graphs is not None)
        changed = [True]
        try:
            changed = [
                self.decoder.reserve(prompt_length + self.width),
                self.cache.reserve(shape.prompts, shape.prompt_length, shape.rows, shape.own_length),
                self.rows.reserve(shape.rows),
            ]
        finally:  # also where memory ran out half way
            if self.graphs is not None and any(changed):
                self.graphs.clear()


class Flight:
    """What one call of `generate` has in the air."""

    def __init__(
        self,
        deck: Deck,
        params: SamplingParams,
        ending: Ending,
        on_token: OnToken | None,
    ) -> None:
        self._decoder, self._deck, self._params = deck.decoder, deck, params
        self._ending, self._on_token = ending, on_token
        self._cache, self._rows = deck.cache, deck.rows
        self._device = deck.decoder.sizes.device
        self._at_once = rows_at_once(self._device, deck.decoder.vocab_size)
        self._rows.clear()
        self._longest = 0  # tokens of the row that has most of them
        self._prompts: list[tuple[int, ...]] = []  # of the cache, in its order
        self._last = torch.empty(0)  # [P, D] states of the prompts' last tokens
        self._layout: Layout | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def wishes(self) -> Sequence[Wish]:
        """What is on board."""
        return self._rows.wishes

    def admit(self, wishes: Sequence[Wish]) -> None:
        """Takes completions on board: each prompt that is not here yet is computed once, first tokens are sampled."""
        here = set(self._prompts)
        new = sorted({w.prompt_ids: None for w in wishes if w.prompt_ids not in here}, key=len, reverse=True)
        longest = max(map(len, (*here, *new)))
        self._deck.reserve(len(self._prompts) + len(new), longest, len(self) + len(wishes))
        for some in _chunks(new):
            self._prefill(some)
        place = {ids: p for p, ids in enumerate(self._prompts)}
        prompts = [place[w.prompt_ids] for w in wishes]
        joined = self._rows.join(wishes, prompts)
        self._append(joined, self._last[torch.tensor(prompts).to(self._device)])
        self._longest = max(self._longest, 1)
        self._layout = None

    def _prefill(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Computes prompts, the longest of them first, as the next ones of the cache."""
        width = len(prompts[0])
        ids = torch.tensor([[*p, *[0] * (width - len(p))] for p in prompts]).to(self._device)
        ends = torch.tensor([len(p) - 1 for p in prompts]).to(self._device)
        positions = torch.arange(width, device=self._device).expand_as(ids)
        hidden = self._decoder(ids, positions, self._cache.prefill(len(self._prompts)))
        last = hidden[torch.arange(len(prompts), device=self._device), ends]
        self._last = torch.cat((self._last, last)) if len(self._last) else last
        self._prompts += prompts

    def step(self) -> None:
        """Moves every row on by one token, or by a few where a graph is replayed."""
        graphs, stride = self._deck.graphs, self._deck.stride
        if self._layout is None or self._layout.shape.own_length < self._longest + stride:
            self._layout = self._new_layout()
        self._rows.idle(self._layout.shape.rows)
        for _ in range(stride):
            if graphs is None:
                self._decode(self._layout)
            else:
                graphs.run(self._decode, self._layout)
        self._longest += stride

    def _new_layout(self) -> Layout:
        lengths = [len(p) for p in self._prompts]
        samples = max(Counter(self._rows.prompts).values())
        own_length = min(self._longest + self._deck.stride + _AHEAD, self._deck.width)
        shape = Shape(len(self), len(lengths), samples, max(lengths), own_length)
        shape = self._cache.covering(room_for(shape, self._deck.graphs is not None))
        return Layout(self._rows.prompts, lengths, shape, self._cache.own)

    def _decode(self, layout: Layout) -> None:
        """Feeds the newest token of every row and samples the next one. The host is not asked, and asks nothing."""
        rows = self._rows.first(layout.shape.rows)
        newest, positions = (
            self._rows.tokens[rows.slot, rows.count - 1],
            rows.start + torch.minimum(rows.count, rows.limit) - 1,
        )
        attend = self._cache.decode(layout, rows.count - 1)
        hidden = self._decoder(newest[:, None], positions[:, None], attend)
        self._append(rows, hidden[:, 0])

    def _append(self, rows: Standing, hidden: Tensor) -> None:
        """Samples the next token of some rows, whose logits are held a part at a time where they are many."""
        draws = self._rows.draws[rows.slot, rows.count]
        parts = zip(hidden.split(self._at_once), draws.split(self._at_once), strict=True)
        drawn = [sample(self._decoder.logits(some), theirs, self._params) for some, theirs in parts]
        tokens, logprobs = (torch.cat(column) for column in zip(*drawn, strict=True))
        self._rows.tokens[rows.slot, rows.count] = tokens
        self._rows.logprobs[rows.slot, rows.count] = logprobs
        rows.count.add_(1)

    def landed(self, version: int) -> Iterator[Completion]:
        """The completions that have ended, taken off board."""
        ends = self._rows.ends(self._deck.stride, self._ending)
        if self._params.timeout_s is not None:
            ends = sorted({**dict(self._rows.late(self._params.timeout_s)), **dict(ends)}.items())
        if self._on_token is not None:
            for wish, token in self._rows.newest(self._deck.stride, ends):
                self._on_token(wish.request, wish.sample, token)
        if not ends:
            return
        found = list(self._rows.texts(ends))
        self._compact([row for row, _ in ends])
        for wish, tokens, logprobs in found:
            yield completion(wish, tokens, logprobs, self._ending, version)

    def _compact(self, gone: Sequence[int]) -> None:
        """Overwrites finished rows by the last live ones, and prompts without rows by the last that have some."""
        kept = self._closed(self._cache.own, len(self), gone)
        self._rows.keep(kept)
        self._longest = self._rows.longest
        self._layout = None
        idle = sorted(set(range(len(self._prompts))).difference(self._rows.prompts))
        if idle:
            kept = self._closed(self._cache.prompts, len(self._prompts), idle)
            self._prompts = [self._prompts[i] for i in kept]
            self._last = self._last[kept]
            number = {old: new for new, old in enumerate(kept)}
            self._rows.prompts = [number[p] for p in self._rows.prompts]

    def _closed(self, store: Store, count: int, holes: Sequence[int]) -> list[int]:
        """Closes the holes of a store by its last rows; who stands at each place afterwards."""
        left = count - len(holes)
        alive = set(range(left, count)).difference(holes)
        moves = list(zip(sorted(alive), [h for h in holes if h < left], strict=True))
        kept = list(range(left))
        for source, target in moves:
            kept[target] = source
        if moves:
            source, target = torch.tensor(moves).T.to(self._device)
            store.move(source, target)
        return kept


def _chunks(prompts: Sequence[tuple[int, ...]]) -> Iterator[Sequence[tuple[int, ...]]]:
    """Prompts, longest first, cut so that each part has at most `PREFILL_TOKENS` padded tokens."""
    start = 0
    while start < len(prompts):
        size = max(1, PREFILL_TOKENS // len(prompts[start]))
        yield prompts[start : start + size]
        start += size
