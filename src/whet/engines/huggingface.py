"""The engine over transformers' `generate`: any causal language model of its kind, at its speed.

Tokens are drawn by our keys, inside a logits processor: it picks the token, records its log-probability, and leaves
`generate` no other choice. A batch of rows runs to its longest completion.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from whet.engines._wishes import OnToken, Wish, completion, wishes_of
from whet.errors import DataError, Interrupted
from whet.functional.sampling import sample
from whet.interfaces import Policy
from whet.models.gpt import GPT
from whet.models.gpt2_layout import copy_to_gpt2, to_gpt2
from whet.models.kv_cache import Shape
from whet.registry import Plugin
from whet.seeding import uniforms
from whet.text.stopping import Ending
from whet.types import Completion, Request, SamplingParams


class HuggingFace(Plugin):
    """Settings of the engine over `generate`."""

    name: str = "huggingface"
    max_rows: int = Field(default=64, ge=1)
    """Completions per call of `generate`."""

    def build(self, policy: Policy) -> HuggingFaceEngine:
        """An engine that reads a transformers model, or a GPT-2 twin of a from-scratch policy."""
        return HuggingFaceEngine(policy, self.max_rows)

    def cache_tokens(self, asked: Shape, token_bytes: int, on_gpu: bool) -> int:
        """Tokens whose keys and values are kept when all that is asked for has this shape: every row its prompt too."""
        return min(asked.rows, self.max_rows) * (asked.prompt_length + asked.own_length)


class HuggingFaceEngine:
    """Draws completions with `generate`."""

    def __init__(self, policy: Policy, max_rows: int) -> None:
        if not isinstance(policy.module, GPT) and not hasattr(policy.module, "generate"):
            raise DataError(
                f"the huggingface engine needs a transformers model or a from_scratch policy, found a "
                f"{type(policy.module).__name__} without generate()"
            )
        self._policy = policy
        self._max_rows = max_rows
        self._twin: Any = None

    def generate(
        self,
        requests: Iterable[Request],
        params: SamplingParams,
        should_stop: Callable[[], bool] = lambda: False,
        on_token: OnToken | None = None,
    ) -> Iterator[Completion]:
        """Completions, a batch of rows at a time. Raises `Interrupted` soon after `should_stop` turns true.

        Raises `DataError` for a request whose prompt and longest completion exceed the context.
        """
        wishes = list(wishes_of(requests, self._policy, params))
        ending = Ending(self._policy.tokenizer, params.stop)
        for batch in _batches(wishes, self._max_rows, self._policy.context_length):
            model, version = self._model(), self._policy.version
            draws = _Draws(batch, params, ending, should_stop, model.device)
            draws.on_token = on_token
            _generate(model, batch, draws, max(w.limit for w in batch))
            columns = (draws.count, draws.tokens, draws.logprobs)
            for wish, count, tokens, logprobs in zip(batch, *(c.tolist() for c in columns), strict=True):
                yield completion(wish, tokens[:count], logprobs[:count], ending, version)

    def _model(self) -> Any:
        """A model with `generate` that has the policy's weights of this moment."""
        module = self._policy.module
        if not isinstance(module, GPT):
            return module
        if self._twin is None:
            self._twin = to_gpt2(module, self._policy.tokenizer.eos_id)
        else:
            copy_to_gpt2(module, self._twin)  # always: a copy is cheap beside `generate`, a stale one is not
        return self._twin


def _batches(wishes: Sequence[Wish], max_rows: int, context_length: int) -> Iterator[list[Wish]]:
    """Wishes in their order, so many at once that no row outgrows the context: it is fed to the end of the longest."""
    batch: list[Wish] = []
    for wish in wishes:
        together = [*batch, wish]
        length = max(len(w.prompt_ids) for w in together) + max(w.limit for w in together)
        if batch and (len(batch) == max_rows or length > context_length):
            yield batch
            together = [wish]
        batch = together
    if batch:
        yield batch


class _Draws:
    """Draws the tokens of one batch from inside `generate`, and says which rows have ended."""

    def __init__(
        self,
        wishes: Sequence[Wish],
        params: SamplingParams,
        ending: Ending,
        should_stop: Callable[[], bool],
        device: torch.device,
    ) -> None:
        self._params, self._ending, self._should_stop = params, ending, should_stop
        self._keys = torch.tensor([w.key for w in wishes], device=device)
        self._limit = torch.tensor([w.limit for w in wishes], device=device)
        self._done = torch.zeros(len(wishes), dtype=torch.bool, device=device)
        self._step = 0
        self._begun = time.monotonic()
        self._wishes = wishes
        self.on_token: OnToken | None = None
        self.count = torch.zeros_like(self._keys)  # [n] tokens of each completion
        self.tokens = self.count.new_zeros(len(wishes), params.max_completion_length)
        self.logprobs = self.tokens.float()

    def pick(self, _token_ids: Tensor, logits: Tensor) -> Tensor:
        """Logits `[n, V]` that leave one token per row: the one that its key draws. Polls `should_stop`."""
        if self._should_stop():
            raise Interrupted
        uniform = uniforms(self._keys, torch.full_like(self._keys, self._step))
        tokens, self.logprobs[:, self._step] = sample(logits, uniform, self._params)
        self.tokens[:, self._step] = tokens
        self._step += 1
        if self.on_token is not None:
            for wish, token, done in zip(self._wishes, tokens.tolist(), self._done.tolist(), strict=True):
                if not done:
                    self.on_token(wish.request, wish.sample, token)
        return torch.full_like(logits, -torch.inf).scatter_(1, tokens[:, None], 0.0)

    def ended(self, _token_ids: Tensor, _scores: Any) -> Tensor:
        """Which rows need no more tokens, `[n]` bool; what is drawn for them later is not counted."""
        self.count += ~self._done
        self._done |= self._reached() | (self.count == self._limit)
        if self._params.timeout_s is not None and time.monotonic() - self._begun >= self._params.timeout_s:
            self._done[:] = True
        return self._done

    def _reached(self) -> Tensor:
        """Which rows their newest token has ended, `[n]` bool."""
        if not self._ending.needs_text:
            newest = self.tokens[:, self._step - 1]
            return torch.stack([newest < 0, *(newest == stop for stop in self._ending.stop_ids)]).any(0)
        rows = zip(self.tokens.tolist(), self.count.tolist(), strict=True)
        found = [self._ending.reached(ids[:n]) for ids, n in rows]
        return torch.tensor(found, dtype=torch.bool, device=self.tokens.device)


def _generate(model: Any, wishes: Sequence[Wish], draws: _Draws, max_completion_length: int) -> None:
    """Runs `generate` over left-padded prompts; what it draws is in `draws`."""
    width = max(len(w.prompt_ids) for w in wishes)
    pads = [width - len(w.prompt_ids) for w in wishes]
    ids = [[0] * pad + list(w.prompt_ids) for pad, w in zip(pads, wishes, strict=True)]
    mask = [[0] * pad + [1] * (width - pad) for pad in pads]
    with _plain(model):
        model.generate(
            input_ids=torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            logits_processor=[draws.pick],
            stopping_criteria=[draws.ended],
            max_new_tokens=max_completion_length,
            do_sample=False,
            use_cache=True,
        )


@contextmanager
def _plain(model: Any) -> Iterator[None]:
    """Without dropout and without the model's own generation settings.

    Those merge into every call, and many act without sampling too: repetition_penalty, suppress_tokens, an end-of-text
    of their own. Any of them would make the log-probabilities those of another distribution.
    """
    settings, training = model.generation_config, [m for m in model.modules() if m.training]
    model.generation_config = type(settings)()
    model.eval()
    try:
        yield
    finally:
        model.generation_config = settings
        for module in training:
            module.training = True
