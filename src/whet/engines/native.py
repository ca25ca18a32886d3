"""The engine of from-scratch policies: a preallocated cache in the trainer's own process, reading its own tensors.

A prompt is computed once and its keys and values are copied to its samples. Rows in flight stay dense: a
finished row is overwritten by the last live one, so a step costs what is still alive, and free rows are
refilled from the queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from pydantic import Field
from torch import Tensor

from whet.errors import DataError, Interrupted
from whet.functional.sampling import sample
from whet.interfaces import Policy
from whet.models.attention import KVCache
from whet.models.gpt import GPT
from whet.registry import Plugin
from whet.seeding import uniforms
from whet.text.stopping import Ending
from whet.types import Completion, Request, SamplingParams


class Native(Plugin):
    """Settings of the native engine."""

    name: str = "native"
    max_rows: int = Field(default=512, ge=1)
    """Completions in flight; more of them queue."""

    def build(self, policy: Policy) -> NativeEngine:
        """An engine that reads the policy's tensors."""
        return NativeEngine(policy, self.max_rows)


@dataclass(frozen=True, slots=True)
class _Wish:
    """One completion still to be made."""

    request: int
    sample: int
    key: int
    prompt_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The completions in flight: row i here is row i of the cache."""

    request: Tensor  # [n]
    sample: Tensor  # [n]
    key: Tensor  # [n]
    position: Tensor  # [n] of the newest token, prompt included
    count: Tensor  # [n] tokens sampled so far
    tokens: Tensor  # [n, max_completion_length]
    logprobs: Tensor  # [n, max_completion_length]

    def __len__(self) -> int:
        return len(self.request)

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
        self._cache: KVCache | None = None

    @torch.inference_mode()
    def generate(
        self,
        requests: Iterable[Request],
        params: SamplingParams,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Completion]:
        """Completions as they finish. Raises `Interrupted` soon after `should_stop` turns true.

        Raises `DataError` for a request whose prompt and longest completion exceed the context.
        """
        queue = self._queue(requests, params)
        ending = Ending(self._policy.tokenizer, params.stop)
        rows = self._no_rows(params)
        while queue or len(rows):
            if should_stop():
                raise Interrupted
            # Refilling pays only in batches: a prefill costs about as much as a decode step of all rows.
            if queue and len(rows) <= self._max_rows * 7 // 8:
                rows = rows.join(self._admit(len(rows), queue, params))
            finished = self._finished(rows, params, ending)
            if bool(finished.any()):
                yield from self._completions(rows.select(finished), ending)
                rows = self._compact(rows, finished)
            if len(rows):
                self._step(rows, params)

    def _queue(self, requests: Iterable[Request], params: SamplingParams) -> deque[_Wish]:
        queue: deque[_Wish] = deque()
        room = self._policy.context_length - params.max_completion_length
        for number, request in enumerate(requests):
            if not 0 < len(request.prompt_ids) <= room:
                raise DataError(
                    f"prompt {number} has {len(request.prompt_ids)} tokens; with completions of up to "
                    f"{params.max_completion_length} the context of {self._policy.context_length} leaves 1 to {room}: "
                    "lower max_completion_length or raise policy.context_length"
                )
            queue.extend(_Wish(number, i, key, request.prompt_ids) for i, key in enumerate(request.keys))
        return queue

    def _no_rows(self, params: SamplingParams) -> _Rows:
        device, width = self._device, params.max_completion_length
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        tokens = torch.zeros(0, width, dtype=torch.int64, device=device)
        return _Rows(empty, empty, empty, empty, empty, tokens, tokens.float())

    def _admit(self, live: int, queue: deque[_Wish], params: SamplingParams) -> _Rows:
        """Takes wishes from the queue, computes each prompt once and samples every first token."""
        wishes = [queue.popleft() for _ in range(min(self._max_rows - live, len(queue)))]
        slot = {request: i for i, request in enumerate(dict.fromkeys(w.request for w in wishes))}
        prompts = [p for _, p in sorted({slot[w.request]: w.prompt_ids for w in wishes}.items())]
        lengths = torch.tensor([len(p) for p in prompts], device=self._device)
        prompt_of = torch.tensor([slot[w.request] for w in wishes], device=self._device)
        cache = self._cache_for(int(lengths.max()) + params.max_completion_length)
        attend = cache.prefill(torch.arange(live, live + len(wishes), device=self._device), prompt_of)
        hidden = self._module(_padded(prompts, self._device), attend=attend)
        last = hidden[torch.arange(len(prompts), device=self._device), lengths - 1]  # [P, D]
        rows = self._new_rows(wishes, lengths[prompt_of] - 1, params)
        rows.append(*sample(self._module.logits(last)[prompt_of], uniforms(rows.key, rows.count), params))
        return rows

    def _new_rows(self, wishes: Sequence[_Wish], position: Tensor, params: SamplingParams) -> _Rows:
        tokens = torch.zeros(
            len(wishes), params.max_completion_length, dtype=torch.int64, device=self._device
        )
        columns = [[w.request, w.sample, w.key] for w in wishes]
        request, number, key = torch.tensor(columns, device=self._device).T
        return _Rows(request, number, key, position, torch.zeros_like(request), tokens, tokens.float())

    def _step(self, rows: _Rows, params: SamplingParams) -> None:
        """Feeds the newest token of every row and samples the next one."""
        assert self._cache is not None
        attend = self._cache.decode(rows.position)
        hidden = self._module(rows.newest, rows.position[:, None], attend)
        rows.append(*sample(self._module.logits(hidden[:, 0]), uniforms(rows.key, rows.count), params))

    def _finished(self, rows: _Rows, params: SamplingParams, ending: Ending) -> Tensor:
        finished = (rows.newest[:, 0] == self._policy.tokenizer.eos_id) | (
            rows.count >= params.max_completion_length
        )
        if ending.is_used:
            ids = [tokens[:n] for tokens, n in zip(rows.tokens.tolist(), rows.count.tolist(), strict=True)]
            finished |= torch.tensor([ending.reached(i) for i in ids], dtype=torch.bool, device=self._device)
        return finished

    def _completions(self, rows: _Rows, ending: Ending) -> Iterator[Completion]:
        columns = (rows.request, rows.sample, rows.count, rows.tokens, rows.logprobs)
        for request, number, count, tokens, logprobs in zip(*(c.tolist() for c in columns), strict=True):
            ids = tuple(tokens[:count])
            stopped = ids[-1] == self._policy.tokenizer.eos_id or (ending.is_used and ending.reached(ids))
            yield Completion(
                request=request,
                sample=number,
                token_ids=ids,
                logprobs=tuple(logprobs[:count]),
                finish_reason="stop" if stopped else "length",
                policy_version=self._policy.version,
                text=ending.text(ids),
            )

    def _compact(self, rows: _Rows, finished: Tensor) -> _Rows:
        """Overwrites finished rows by the last live ones, in the cache too."""
        alive = int((~finished).sum())
        order = torch.arange(alive, device=self._device)
        holes = finished[:alive].nonzero()[:, 0]
        if len(holes):
            order[holes] = alive + (~finished[alive:]).nonzero()[:, 0]
            assert self._cache is not None
            self._cache.move(order[holes], holes)
        return rows.select(order)

    def _cache_for(self, length: int) -> KVCache:
        if self._cache is None:
            self._cache = self._module.new_cache(self._max_rows, length)
        self._cache.grow(length)
        return self._cache

    @property
    def _device(self) -> torch.device:
        return self._module.wte.weight.device


def _padded(prompts: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Prompts as `[P, T]`, zeros on the right."""
    width = max(map(len, prompts))
    return torch.tensor([[*p, *[0] * (width - len(p))] for p in prompts], device=device)
