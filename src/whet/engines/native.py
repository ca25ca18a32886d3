"""The engine of from-scratch policies: a preallocated cache in the trainer's own process, reading its own tensors.

A prompt is computed once and its keys and values are copied to its samples. Rows in flight stay dense: a
finished row is overwritten by the last live one, so a step costs what is still alive, and free rows are
refilled from the queue.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from pydantic import Field
from torch import Tensor

from whet.engines._wishes import OnToken, Wish, completion, reached, wishes_of
from whet.engines.huggingface import HuggingFace, HuggingFaceEngine
from whet.errors import DataError, Interrupted
from whet.functional.sampling import sample
from whet.interfaces import Policy
from whet.models.attention import KVCache
from whet.models.gpt import GPT
from whet.registry import Plugin
from whet.seeding import uniforms
from whet.text.stopping import Ending
from whet.types import Completion, Request, SamplingParams

_log = logging.getLogger(__name__)


class Native(Plugin):
    """Settings of the native engine."""

    name: str = "native"
    max_rows: int = Field(default=512, ge=1)
    """Completions in flight; more of them queue."""

    def build(self, policy: Policy) -> NativeEngine | HuggingFaceEngine:
        """An engine that reads the policy's tensors; over `generate` where the model is of another family."""
        if isinstance(policy.module, GPT):
            return NativeEngine(policy, self.max_rows)
        _log.info("no native engine for %s: sampling with generate()", type(policy.module).__name__)
        return HuggingFaceEngine(policy, min(self.max_rows, HuggingFace().max_rows))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The completions in flight: row i here is row i of the cache."""

    place: Tensor  # [n] of its wish
    key: Tensor  # [n]
    position: Tensor  # [n] of the newest token, prompt included
    limit: Tensor  # [n] tokens at most
    count: Tensor  # [n] tokens sampled so far
    tokens: Tensor  # [n, max_completion_length]
    logprobs: Tensor  # [n, max_completion_length]

    @classmethod
    def new(cls, wishes: Sequence[Wish], width: int, device: torch.device) -> _Rows:
        columns = [(w.place, w.key, len(w.prompt_ids) - 1, w.limit) for w in wishes]
        place, key, position, limit = torch.tensor(columns, dtype=torch.int64, device=device).reshape(-1, 4).T
        tokens = torch.zeros(len(wishes), width, dtype=torch.int64, device=device)
        return cls(place, key, position, limit, torch.zeros_like(place), tokens, tokens.float())

    def __len__(self) -> int:
        return len(self.place)

    @property
    def newest(self) -> Tensor:
        return self.tokens.gather(1, self.count[:, None] - 1)  # [n, 1]

    def append(self, tokens: Tensor, logprobs: Tensor) -> None:
        self.tokens.scatter_(1, self.count[:, None], tokens[:, None])
        self.logprobs.scatter_(1, self.count[:, None], logprobs[:, None])
        self.count.add_(1)
        self.position.add_(1)

    def select(self, index: Tensor) -> _Rows:
        return _Rows(*(getattr(self, f.name)[index] for f in fields(self)))

    def join(self, other: _Rows) -> _Rows:
        return _Rows(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


class NativeEngine:
    """Draws completions from a GPT."""

    def __init__(self, policy: Policy, max_rows: int) -> None:
        if not isinstance(policy.module, GPT):
            raise DataError(
                "the native engine reads from_scratch policies; use engine=huggingface for this one"
            )
        self._policy = policy
        self._module: GPT = policy.module
        self._max_rows = max_rows

    @torch.inference_mode()
    def generate(
        self,
        requests: Iterable[Request],
        params: SamplingParams,
        should_stop: Callable[[], bool] = lambda: False,
        on_token: OnToken | None = None,
    ) -> Iterator[Completion]:
        """Completions as they finish. Raises `Interrupted` soon after `should_stop` turns true.

        Raises `DataError` for a request whose prompt and longest completion exceed the context.
        """
        wishes = wishes_of(requests, self._policy, params)
        cache = self._new_cache(wishes, params)
        ending = Ending(self._policy.tokenizer, params.stop)
        queue, rows = deque(wishes), _Rows.new([], params.max_completion_length, self._device)
        while queue or len(rows):
            if should_stop():
                raise Interrupted
            # Refilling pays only in batches: a prefill costs about as much as a decode step of all rows.
            if queue and len(rows) <= self._max_rows * 7 // 8:
                taken = [queue.popleft() for _ in range(min(self._max_rows - len(rows), len(queue)))]
                new = self._admit(taken, len(rows), cache, params)
                _tell(on_token, new, wishes)
                rows = rows.join(new)
            finished = reached(rows.tokens, rows.count, ending) | (rows.count == rows.limit)
            if bool(finished.any()):
                yield from self._completions(rows.select(finished), wishes, ending)
                rows = _compact(rows, finished, cache)
            if len(rows):
                self._step(rows, cache, params)
                _tell(on_token, rows, wishes)

    def _admit(self, wishes: Sequence[Wish], first_row: int, cache: KVCache, params: SamplingParams) -> _Rows:
        """Computes each prompt once, for as many cache rows as there are wishes, and samples every first token."""
        index = {prompt: i for i, prompt in enumerate(dict.fromkeys(w.prompt_ids for w in wishes))}
        last = torch.tensor([len(prompt) - 1 for prompt in index], device=self._device)  # [P]
        prompt_of = torch.tensor([index[w.prompt_ids] for w in wishes], device=self._device)  # [n]
        rows = torch.arange(first_row, first_row + len(wishes), device=self._device)
        hidden = self._module(_padded(list(index), self._device), attend=cache.prefill(rows, prompt_of))
        logits = self._module.logits(hidden[torch.arange(len(index), device=self._device), last])  # [P, V]
        new = _Rows.new(wishes, params.max_completion_length, self._device)
        new.append(*sample(logits[prompt_of], uniforms(new.key, new.count), params))
        return new

    def _step(self, rows: _Rows, cache: KVCache, params: SamplingParams) -> None:
        """Feeds the newest token of every row and samples the next one."""
        hidden = self._module(rows.newest, rows.position[:, None], cache.decode(rows.position))
        rows.append(*sample(self._module.logits(hidden[:, 0]), uniforms(rows.key, rows.count), params))

    def _completions(self, rows: _Rows, wishes: Sequence[Wish], ending: Ending) -> Iterator[Completion]:
        columns = (rows.place, rows.count, rows.tokens, rows.logprobs)
        for place, count, tokens, logprobs in zip(*(c.tolist() for c in columns), strict=True):
            version = self._policy.version
            yield completion(wishes[place], tokens[:count], logprobs[:count], ending, version)

    def _new_cache(self, wishes: Sequence[Wish], params: SamplingParams) -> KVCache:
        """Room for all that is ever in flight; the memory is free again when the call ends."""
        longest = max((len(w.prompt_ids) for w in wishes), default=0)
        return self._module.new_cache(
            min(self._max_rows, len(wishes)), longest + params.max_completion_length
        )

    @property
    def _device(self) -> torch.device:
        return self._module.wte.weight.device


def _tell(on_token: OnToken | None, rows: _Rows, wishes: Sequence[Wish]) -> None:
    """Says the newest token of every row."""
    if on_token is None:
        return
    for place, token in zip(rows.place.tolist(), rows.newest[:, 0].tolist(), strict=True):
        on_token(wishes[place].request, wishes[place].sample, token)


def _compact(rows: _Rows, finished: Tensor, cache: KVCache) -> _Rows:
    """Overwrites finished rows by the last live ones, in the cache too."""
    alive = int((~finished).sum())
    order = torch.arange(alive, device=finished.device)
    holes = finished[:alive].nonzero()[:, 0]
    if len(holes):
        order[holes] = alive + (~finished[alive:]).nonzero()[:, 0]
        cache.move(order[holes], holes)
    return rows.select(order)


def _padded(prompts: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Prompts as `[P, T]`, zeros on the right."""
    width = max(map(len, prompts))
    return torch.tensor([[*p, *[0] * (width - len(p))] for p in prompts], device=device)
