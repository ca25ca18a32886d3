"""The completions in flight: admitted together with their prompts, moved on by a token, and landed when they end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

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


class _Rows:
    """What is in the air. Row i here is row i of the cache; its tokens are written where its slot says."""

    def __init__(self, width: int, device: torch.device) -> None:
        """width: tokens of the longest completion."""
        self.wishes: list[Wish] = []
        self.numbers = torch.zeros(6, 0, dtype=torch.int64, device=device)
        self._tokens = torch.zeros(0, width, dtype=torch.int64, device=device)  # [slots, width]
        self._logprobs = torch.zeros(0, width, device=device)

    def __len__(self) -> int:
        return len(self.wishes)

    @property
    def key(self) -> Tensor:
        return self.numbers[0]

    @property
    def limit(self) -> Tensor:  # tokens at most
        return self.numbers[1]

    @property
    def prompt(self) -> Tensor:  # of the cache
        return self.numbers[2]

    @property
    def start(self) -> Tensor:  # tokens of the prompt
        return self.numbers[3]

    @property
    def count(self) -> Tensor:  # tokens sampled so far
        return self.numbers[4]

    @property
    def slot(self) -> Tensor:
        return self.numbers[5]

    @property
    def newest(self) -> Tensor:
        return self._tokens[self.slot, self.count - 1]  # [n]

    @property
    def tokens(self) -> Tensor:
        return self._tokens[self.slot]  # [n, width]

    def join(self, wishes: Sequence[Wish], prompts: Sequence[int]) -> slice:
        """Adds rows without a token; says which they are."""
        total = len(self) + len(wishes)
        if len(self._tokens) < total:
            self._tokens = pad(self._tokens, (0, 0, 0, total - len(self._tokens)))
            self._logprobs = pad(self._logprobs, (0, 0, 0, total - len(self._logprobs)))
        taken = set(self.slot.tolist())
        free = (i for i in range(len(self._tokens)) if i not in taken)
        columns = [
            (w.key, w.limit, p, len(w.prompt_ids), 0, i)
            for w, p, i in zip(wishes, prompts, free, strict=False)
        ]
        new = torch.tensor(columns, dtype=torch.int64).T.to(self.numbers.device)
        self.numbers = torch.cat((self.numbers, new), 1)
        self.wishes += wishes
        return slice(total - len(wishes), total)

    def append(self, which: slice, tokens: Tensor, logprobs: Tensor) -> None:
        at = self.slot[which], self.count[which]
        self._tokens[at], self._logprobs[at] = tokens, logprobs
        self.count[which] += 1

    def keep(self, index: Tensor) -> None:
        self.numbers = self.numbers[:, index]
        self.wishes = [self.wishes[i] for i in index.tolist()]

    def texts(self, index: Tensor) -> Iterator[tuple[Wish, list[int], list[float]]]:
        """Wish, tokens and log-probabilities of some rows."""
        slots, counts = self.slot[index], self.count[index].tolist()
        columns = self._tokens[slots].tolist(), self._logprobs[slots].tolist()
        for i, n, tokens, logprobs in zip(index.tolist(), counts, *columns, strict=True):
            yield self.wishes[i], tokens[:n], logprobs[:n]


class Flight:
    """What one call of `generate` has in the air."""

    def __init__(
        self, decoder: DecoderLike, params: SamplingParams, ending: Ending, on_token: OnToken | None
    ) -> None:
        self._decoder, self._params, self._ending, self._on_token = decoder, params, ending, on_token
        self._sizes = decoder.sizes
        self._cache = KVCache(self._sizes)
        self._prompts: list[tuple[int, ...]] = []  # of the cache, in its order
        self._last = torch.empty(0)  # [P, D] states of the prompts' last tokens
        self._rows = _Rows(params.max_completion_length, self._device)
        self._layout: Layout | None = None

    def __len__(self) -> int:
        return len(self._rows)

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
        joined = self._rows.join(wishes, [place[w.prompt_ids] for w in wishes])
        self._append(joined, self._decoder.logits(self._last)[self._rows.prompt[joined]])
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
            self._layout = Layout(rows.prompt, lengths)
        positions = rows.start + rows.count - 1
        attend = self._cache.decode(self._layout, rows.count - 1)
        hidden = self._decoder(rows.newest[:, None], positions[:, None], attend)
        self._append(slice(len(rows)), self._decoder.logits(hidden[:, 0]))

    def _append(self, which: slice, logits: Tensor) -> None:
        """Samples the next token of some rows."""
        rows = self._rows
        tokens, logprobs = sample(logits, uniforms(rows.key[which], rows.count[which]), self._params)
        rows.append(which, tokens, logprobs)
        if self._on_token is not None:
            for wish, token in zip(rows.wishes[which], tokens.tolist(), strict=True):
                self._on_token(wish.request, wish.sample, token)

    def landed(self, version: int) -> Iterator[Completion]:
        """The completions that have ended, taken off board."""
        rows = self._rows
        finished = reached(rows.newest, rows, self._ending) | (rows.count == rows.limit)
        if not bool(finished.any()):
            return
        found = list(rows.texts(finished.nonzero()[:, 0]))
        self._compact(finished)
        for wish, tokens, logprobs in found:
            yield completion(wish, tokens, logprobs, self._ending, version)

    def _compact(self, finished: Tensor) -> None:
        """Overwrites finished rows by the last live ones, and prompts without rows by the last that have some."""
        kept, source, target = _moves(~finished)
        self._cache.own.move(source, target)
        self._rows.keep(kept)
        self._layout = None
        used = torch.bincount(self._rows.prompt, minlength=len(self._prompts)) > 0
        if bool(used.all()):
            return
        kept, source, target = _moves(used)
        self._cache.prompts.move(source, target)
        self._prompts = [self._prompts[i] for i in kept.tolist()]
        self._last = self._last[kept]
        number = torch.zeros(len(used), dtype=torch.int64, device=self._device)
        number[kept] = torch.arange(len(kept), device=self._device)
        self._rows.prompt.copy_(number[self._rows.prompt])


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
