"""The completions in flight: admitted together with their prompts, moved on by a token, and landed when they end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor

from whet.engines._wishes import OnToken, Wish, completion, reached
from whet.functional.sampling import sample
from whet.models.attention import Attend
from whet.models.kv_cache import CacheSizes, KVCache, Layout
from whet.seeding import uniforms
from whet.text.stopping import Ending
from whet.types import Completion, SamplingParams

PREFILL_TOKENS = 8192
"""Padded tokens of prompts that are computed at once, so that what they take does not grow with their number."""


class DecoderLike(Protocol):
    """What the engine asks of a model."""

    @property
    def sizes(self) -> CacheSizes:
        """What a cache keeps of a token."""
        ...

    def __call__(self, token_ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states `[B, T, D]` of token ids `[B, T]` at positions `[B, T]`."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits `[..., V]`."""
        ...

    def reserve(self, length: int) -> None:
        """Prepares for positions below `length`."""
        ...


@dataclass(frozen=True, slots=True)
class _Rows:
    """Row i here is row i of the cache."""

    key: Tensor  # [n]
    limit: Tensor  # [n] tokens at most
    prompt: Tensor  # [n] which prompt of the cache
    start: Tensor  # [n] tokens of the prompt
    count: Tensor  # [n] tokens sampled so far
    tokens: Tensor  # [n, max_completion_length]
    logprobs: Tensor  # [n, max_completion_length]

    @classmethod
    def new(cls, wishes: Sequence[Wish], prompts: Sequence[int], width: int, device: torch.device) -> _Rows:
        columns = [(w.key, w.limit, p, len(w.prompt_ids), 0) for w, p in zip(wishes, prompts, strict=True)]
        numbers = torch.tensor(columns, dtype=torch.int64).reshape(-1, 5).T.to(device)
        tokens = torch.zeros(len(wishes), width, dtype=torch.int64, device=device)
        return cls(*numbers.unbind(), tokens, tokens.float())

    def __len__(self) -> int:
        return len(self.key)

    @property
    def newest(self) -> Tensor:
        return self.tokens.gather(1, self.count[:, None] - 1)  # [n, 1]

    def append(self, tokens: Tensor, logprobs: Tensor) -> None:
        self.tokens.scatter_(1, self.count[:, None], tokens[:, None])
        self.logprobs.scatter_(1, self.count[:, None], logprobs[:, None])
        self.count.add_(1)

    def select(self, index: Tensor) -> _Rows:
        return _Rows(*(getattr(self, f.name)[index] for f in fields(self)))

    def join(self, other: _Rows) -> _Rows:
        return _Rows(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


class Flight:
    """What one call of `generate` has in the air."""

    def __init__(
        self, decoder: DecoderLike, params: SamplingParams, ending: Ending, on_token: OnToken | None
    ) -> None:
        self._decoder, self._params, self._ending, self._on_token = decoder, params, ending, on_token
        self._sizes = decoder.sizes
        self._cache = KVCache(self._sizes)
        self._wishes: list[Wish] = []  # of each row
        self._prompts: list[tuple[int, ...]] = []  # of the cache, in its order
        self._last = torch.empty(0)  # [P, D] states of the prompts' last tokens
        self._rows = _Rows.new([], [], params.max_completion_length, self._device)
        self._layout: Layout | None = None

    def __len__(self) -> int:
        return len(self._wishes)

    @property
    def _device(self) -> torch.device:
        return self._sizes.device

    def admit(self, wishes: Sequence[Wish]) -> None:
        """Takes completions on board: each prompt that is not here yet is computed once, first tokens are sampled."""
        here = set(self._prompts)
        new = sorted({w.prompt_ids: None for w in wishes if w.prompt_ids not in here}, key=len, reverse=True)
        longest = max(len(w.prompt_ids) for w in wishes)
        self._decoder.reserve(longest + self._params.max_completion_length)
        self._cache.reserve(
            len(self._prompts) + len(new),
            longest,
            len(self) + len(wishes),
            self._params.max_completion_length,
        )
        for some in _chunks(new):
            self._prefill(some)
        place = {ids: p for p, ids in enumerate(self._prompts)}
        prompts = [place[w.prompt_ids] for w in wishes]
        rows = _Rows.new(wishes, prompts, self._params.max_completion_length, self._device)
        self._append(rows, self._decoder.logits(self._last)[rows.prompt])
        self._rows = self._rows.join(rows)
        self._wishes += wishes
        self._tell(wishes, rows)
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
        """Feeds the newest token of every row and samples the next one."""
        rows = self._rows
        if self._layout is None:
            lengths = torch.tensor([len(p) for p in self._prompts]).to(self._device)
            self._layout = Layout.of(rows.prompt, lengths)
        positions = rows.start + rows.count - 1
        attend = self._cache.decode(self._layout, rows.count - 1)
        hidden = self._decoder(rows.newest, positions[:, None], attend)
        self._append(rows, self._decoder.logits(hidden[:, 0]))
        self._tell(self._wishes, rows)

    def _append(self, rows: _Rows, logits: Tensor) -> None:
        rows.append(*sample(logits, uniforms(rows.key, rows.count), self._params))

    def _tell(self, wishes: Sequence[Wish], rows: _Rows) -> None:
        """Says the newest token of every row."""
        if self._on_token is not None:
            for wish, token in zip(wishes, rows.newest[:, 0].tolist(), strict=True):
                self._on_token(wish.request, wish.sample, token)

    def landed(self, version: int) -> Iterator[Completion]:
        """The completions that have ended, taken off board."""
        rows = self._rows
        finished = reached(rows.tokens, rows.count, self._ending) | (rows.count == rows.limit)
        if not bool(finished.any()):
            return
        done = finished.nonzero()[:, 0]
        wishes = [self._wishes[i] for i in done.tolist()]
        columns = [c[done].tolist() for c in (rows.count, rows.tokens, rows.logprobs)]
        self._compact(finished)
        for wish, count, tokens, logprobs in zip(wishes, *columns, strict=True):
            yield completion(wish, tokens[:count], logprobs[:count], self._ending, version)

    def _compact(self, finished: Tensor) -> None:
        """Overwrites finished rows by the last live ones, and prompts without rows by the last that have some."""
        kept, source, target = _moves(~finished)
        self._cache.own.move(source, target)
        self._wishes = [self._wishes[i] for i in kept.tolist()]
        self._rows = self._rows.select(kept)
        self._layout = None
        used = torch.zeros(len(self._prompts), dtype=torch.bool, device=self._device)
        used[self._rows.prompt] = True
        if bool(used.all()):
            return
        kept, source, target = _moves(used)
        self._cache.prompts.move(source, target)
        self._prompts = [self._prompts[i] for i in kept.tolist()]
        self._last = self._last[kept]
        number = torch.empty_like(used, dtype=torch.int64)
        number[kept] = torch.arange(len(kept), device=self._device)
        self._rows = replace(self._rows, prompt=number[self._rows.prompt])


def _moves(alive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How to close the holes: who stands at each place afterwards, and the moves, `source` over `target`."""
    n = int(alive.sum())
    kept = torch.arange(n, device=alive.device)
    target = (~alive[:n]).nonzero()[:, 0]
    source = n + alive[n:].nonzero()[:, 0]
    kept[target] = source
    return kept, source, target


def _chunks(prompts: Sequence[tuple[int, ...]]) -> Iterator[Sequence[tuple[int, ...]]]:
    """Prompts, longest first, cut so that each part has at most `PREFILL_TOKENS` padded tokens."""
    start = 0
    while start < len(prompts):
        size = max(1, PREFILL_TOKENS // len(prompts[start]))
        yield prompts[start : start + size]
        start += size
