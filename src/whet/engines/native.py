"""The engine of whet's own models, Llama, Qwen2 and Qwen3: in the trainer's process, reading its own tensors.

A prompt is computed once, and its samples share its keys and values. Rows in flight stay dense: a finished row is
overwritten by the last live one, so a step costs what is still alive, and free rows are refilled from the queue.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
from pydantic import Field

from whet.engines._flight import Flight
from whet.engines._wishes import OnToken, wishes_of
from whet.engines.huggingface import HuggingFace, HuggingFaceEngine
from whet.errors import DataError, Interrupted
from whet.interfaces import Policy
from whet.models.decoder import FAMILIES, Decoder, is_known
from whet.models.gpt import GPT
from whet.registry import Plugin
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
        if isinstance(policy.module, GPT) or is_known(policy.module):
            return NativeEngine(policy, self.max_rows)
        engine = HuggingFaceEngine(policy, min(self.max_rows, HuggingFace().max_rows))
        _log.info("no native engine for %s: sampling with generate()", type(policy.module).__name__)
        return engine


class NativeEngine:
    """Draws completions from a GPT, or a transformers model of a known family."""

    def __init__(self, policy: Policy, max_rows: int) -> None:
        module = policy.module
        if not isinstance(module, GPT) and not is_known(module):
            raise DataError(
                f"the native engine reads from_scratch policies, {', '.join(FAMILIES)}; use engine=huggingface for "
                f"this {type(module).__name__}"
            )
        self._policy = policy
        self._decoder = module if isinstance(module, GPT) else Decoder(module)
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

        Requests are read when there is room for them. Raises `DataError` for one whose prompt and longest completion
        exceed the context.
        """
        wishes = wishes_of(requests, self._policy, params)
        queue = deque(islice(wishes, self._max_rows))
        flight = Flight(self._decoder, params, Ending(self._policy.tokenizer, params.stop), on_token)
        while queue or len(flight):
            if should_stop():
                raise Interrupted
            # Refilling pays only in batches: a prefill costs about as much as a decode step of all rows.
            if queue and len(flight) <= self._max_rows * 7 // 8:
                flight.admit([queue.popleft() for _ in range(min(self._max_rows - len(flight), len(queue)))])
                queue.extend(islice(wishes, self._max_rows - len(queue)))
            yield from flight.landed(self._policy.version)
            if len(flight):
                flight.step()
