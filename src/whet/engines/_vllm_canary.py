"""The proof that a copy of the policy computes what the policy computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from whet.engines._vllm_worker import Ask, Held, Worker
from whet.errors import EngineError
from whet.interfaces import Policy
from whet.types import Batch, SamplingParams

_LENGTH = 8
"""Tokens of the prompt, and of what is sampled after it."""
_TOLERANCE = {torch.float32: 1e-3}
_COARSE_TOLERANCE = 0.2
_GREEDY = SamplingParams(temperature=0.0, max_completion_length=_LENGTH)


@dataclass(frozen=True, slots=True)
class _Song:
    """Tokens sampled greedily after the prompt, and their log-probabilities `[n]` on both sides."""

    token_ids: tuple[int, ...]
    ours: Tensor
    theirs: Tensor

    @property
    def gap(self) -> float:
        return float((self.ours - self.theirs).abs().max())


class Canary:
    """A prompt of fixed tokens: what vLLM says after it must be what the trainer's own forward says."""

    def __init__(self, policy: Policy, tolerance: float | None) -> None:
        """tolerance: the largest gap in nats; None is 0.001 in float32 and 0.2 in coarser numbers."""
        self._policy = policy
        self._tolerance = tolerance
        self._before: _Song | None = None
        size, length = policy.tokenizer.vocab_size, min(_LENGTH, policy.context_length // 2)
        self._prompt = tuple((i + 1) * 7919 % size for i in range(length))  # spread over the vocabulary

    def check(self, worker: Worker, held: Held) -> float:
        """The gap in nats. Raises `EngineError` when it is too large, or when an update changed nothing in vLLM."""
        song = self._sung_by(worker)
        if not song.gap <= self._limit():  # a NaN is no proof
            raise EngineError(
                f"vLLM does not compute with {held}: its log-probabilities of the canary prompt differ from the "
                f"trainer's by {song.gap:.3g} nats, more than {self._limit():g}. The update did not arrive whole, or "
                "vLLM computes this model otherwise; then raise engine.canary_tolerance and set algorithm.tis"
            )
        if (moved := self._moved_alone(song)) is not None:
            raise EngineError(
                f"vLLM computes with stale weights, those before {held}: the canary prompt moved by {moved:.3g} nats "
                "in the trainer and not at all in vLLM. Start vLLM again and resume the run"
            )
        self._before = song
        return song.gap

    def _sung_by(self, worker: Worker) -> _Song:
        ask = Ask(place=0, prompt_ids=self._prompt, seed=0, limit=len(self._prompt))
        pieces = [piece for step in worker.generate([ask], _GREEDY, ()) for piece in step]
        token_ids = tuple(token for piece in pieces for token in piece.token_ids)
        if len(token_ids) != len(self._prompt):
            raise EngineError(
                f"vLLM gave {len(token_ids)} tokens for a canary prompt, not {len(self._prompt)}"
            )
        theirs = torch.tensor([logprob for piece in pieces for logprob in piece.logprobs])
        return _Song(token_ids, self._logprobs(token_ids), theirs)

    def _moved_alone(self, song: _Song) -> float | None:
        """How far the trainer has moved, where vLLM says to the bit what it said before the update.

        This sees a copy that stays behind by less than the tolerance. Moves as small as the rounding between the two,
        of which the gap before tells the size, are no sign.
        """
        before = self._before
        if (
            before is None
            or before.token_ids != song.token_ids
            or not torch.equal(before.theirs, song.theirs)
        ):
            return None
        moved = float((song.ours - before.ours).abs().max())
        return moved if moved > 10 * max(before.gap, 1e-7) else None

    def _limit(self) -> float:
        dtype = next(self._policy.module.parameters()).dtype
        return self._tolerance or _TOLERANCE.get(dtype, _COARSE_TOLERANCE)

    @torch.no_grad()
    def _logprobs(self, token_ids: Sequence[int]) -> Tensor:
        """The trainer's, untempered, `[n]`."""
        device = next(self._policy.module.parameters()).device
        ids = torch.tensor([[*self._prompt, *token_ids]], device=device)  # [1, T]
        mask = torch.arange(ids.shape[1], device=device)[None] >= len(self._prompt)
        zeros, one = torch.zeros(ids.shape, device=device), torch.zeros(1, dtype=torch.int64, device=device)
        batch = Batch(
            token_ids=ids,
            lengths=one + ids.shape[1],
            loss_mask=mask,
            group=one,
            truncated=one.bool(),
            rewards=zeros,
            sampling_logprobs=zeros,
        )
        return self._policy.forward(batch).logprobs[mask].float().cpu()
