"""The engine of whet's own models, Llama, Qwen2 and Qwen3: in the trainer's process, reading its own tensors.

On a CPU plain layers are read from a copy in another order, which lives as long as one call. A prompt is computed
once, and its samples share its keys and values. Rows in flight stay dense: a finished row is overwritten by the last
live one, so a step costs what is still alive, and free rows are refilled from the queue.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import torch
from pydantic import Field

from whet.engines._flight import Deck, Flight, room_for, width_of
from whet.engines._graphs import Graphs, recorder
from whet.engines._merged import MergedCopy
from whet.engines._wishes import OnToken, Wish, wishes_of
from whet.engines.huggingface import HuggingFace, HuggingFaceEngine
from whet.errors import DataError, Interrupted
from whet.interfaces import Policy
from whet.models.decoder import FAMILIES, Decoder, is_known
from whet.models.frozen_gpt import FrozenGPT
from whet.models.gpt import GPT
from whet.models.kv_cache import Shape
from whet.registry import Plugin
from whet.text.stopping import Ending
from whet.types import Completion, Request, SamplingParams

_log = logging.getLogger(__name__)


class Native(Plugin):
    """Settings of the native engine."""

    name: str = "native"
    max_rows: int = Field(default=512, ge=1)
    """Completions in flight; more of them queue."""
    cache_mb: int | None = Field(default=None, ge=1)
    """Limit of what keys and values take; fewer completions are then in flight. Default: as many as max_rows allows.
    Lengths are rounded up to 8 tokens beyond it, on a GPU to 128 and rows to a power of two."""
    merged: bool = False
    """With LoRA: sample from a copy of the model with the adapters folded in, made anew after every update. A step
    costs less, the copy takes the memory of the model, and its log-probabilities are the adapters' up to rounding."""

    def build(self, policy: Policy) -> NativeEngine | HuggingFaceEngine:
        """An engine that reads the policy's tensors; over `generate` where the model is of another family."""
        if isinstance(policy.module, GPT) or is_known(policy.module):
            return NativeEngine(policy, self)
        engine = HuggingFaceEngine(policy, min(self.max_rows, HuggingFace().max_rows))
        _log.info("no native engine for %s: sampling with generate()", type(policy.module).__name__)
        return engine

    def most_rows(self, token_bytes: int, tokens: int) -> int:
        """Completions in flight: as many as the settings allow, and the room for keys and values of so many tokens."""
        if self.cache_mb is None:
            return self.max_rows
        return max(1, min(self.max_rows, self.cache_mb * 2**20 // (token_bytes * tokens)))

    def cache_tokens(self, asked: Shape, token_bytes: int, on_gpu: bool) -> int:
        """Tokens that the cache has room for, at most, when all that is asked for has this shape."""
        rows = min(asked.rows, self.most_rows(token_bytes, asked.prompt_length + asked.own_length))
        width = width_of(asked.own_length, on_gpu)
        held = asked._replace(rows=rows, prompts=min(asked.prompts, rows), own_length=width)
        return room_for(held, on_gpu).tokens


class NativeEngine:
    """Draws completions from a GPT, or a transformers model of a known family."""

    def __init__(self, policy: Policy, settings: Native) -> None:
        module = policy.module
        if not isinstance(module, GPT) and not is_known(module):
            raise DataError(
                f"the native engine reads from_scratch policies, {', '.join(FAMILIES)}; use engine=huggingface for "
                f"this {type(module).__name__}"
            )
        self._policy, self._settings = policy, settings
        self._copy = MergedCopy(policy) if settings.merged else None
        self._kept: tuple[object, Deck] | None = None

    @torch.inference_mode()
    def generate(
        self,
        requests: Iterable[Request],
        params: SamplingParams,
        should_stop: Callable[[], bool] = lambda: False,
        on_token: OnToken | None = None,
    ) -> Iterator[Completion]:
        """Completions as they finish. Raises `Interrupted` soon after `should_stop` turns true.

        Requests are read when there is room for them. Raises `DataError` for one whose prompt and longest completion
        exceed the context.
        """
        wishes = wishes_of(requests, self._policy, params)
        queue = deque(islice(wishes, self._settings.max_rows))
        decoder, version = self._decoder(), self._policy.version
        ending = Ending(self._policy.tokenizer, params.stop)
        flight = Flight(self._deck(decoder, params), params, ending, on_token)
        while queue or len(flight):
            if should_stop():
                raise Interrupted
            most = self._most_rows(decoder, chain(queue, flight.wishes), params)
            # Refilling pays only in batches: a prefill costs about as much as a decode step of all rows.
            if queue and len(flight) <= most * 7 // 8:
                flight.admit([queue.popleft() for _ in range(min(most - len(flight), len(queue)))])
                queue.extend(islice(wishes, max(0, self._settings.max_rows - len(queue))))
            yield from flight.landed(version)
            if len(flight):
                flight.step()

    def _most_rows(self, decoder: FrozenGPT | Decoder, wishes: Iterable[Wish], params: SamplingParams) -> int:
        if self._settings.cache_mb is None:
            return self._settings.max_rows
        tokens = max((len(w.prompt_ids) for w in wishes), default=0) + params.max_completion_length
        return self._settings.most_rows(decoder.sizes.token_bytes, tokens)

    def _decoder(self) -> FrozenGPT | Decoder:
        module = self._policy.module if self._copy is None else self._copy.module()
        return FrozenGPT(module) if isinstance(module, GPT) else Decoder(module, frozen=True)

    def _deck(self, decoder: FrozenGPT | Decoder, params: SamplingParams) -> Deck:
        """New tensors, which are free again when the call ends; on a GPU those of the last call, which graphs read."""
        is_tight = self._settings.cache_mb is not None
        if decoder.sizes.device.type != "cuda":
            return Deck(decoder, params, is_tight=is_tight)
        weights = tuple(p.data_ptr() for p in decoder.parameters())
        if self._kept is None or self._kept[0] != (params, weights):
            self._kept = None  # what it holds is free before anything new is taken
            self._kept = (params, weights), Deck(decoder, params, Graphs(recorder()), is_tight)
        return self._kept[1]
