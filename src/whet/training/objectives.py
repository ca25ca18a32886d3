"""What an update minimises: an algorithm's loss on rollouts, or the likelihood of demonstrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from whet.functional.kl import k3
from whet.interfaces import Algorithm, Reduction, Want
from whet.tracking.metrics import Metrics
from whet.training.terms import clipped_tokens, loss_terms, sampler_correction
from whet.types import Batch, TokenStats

if TYPE_CHECKING:
    from torch import Tensor


class Reinforcement:
    """The loss of an algorithm."""

    def __init__(self, algorithm: Algorithm, is_first_update: bool) -> None:
        self._algorithm = algorithm
        self._is_first_update = is_first_update
        self.reduction: Reduction = algorithm.reduction
        self.want: frozenset[Want] = frozenset({"entropy_gradient"} if algorithm.entropy_coef else ())

    def moving(self, batch: Batch) -> Tensor:
        """Those with an advantage, or every row where another term may have a gradient.

        Every row too where log-probabilities were recorded before the first update: cut as they were then, the
        first ratio is 1 to the last bit.
        """
        assert batch.advantages is not None
        algorithm = self._algorithm
        has_other_terms = algorithm.entropy_coef > 0 or (
            algorithm.needs_reference and algorithm.kl_in == "loss"
        )
        if has_other_terms or not algorithm.still_without_advantage or batch.old_logprobs is not None:
            return torch.ones_like(batch.truncated)
        return (batch.advantages != 0).any(-1)

    def terms(self, batch: Batch, stats: TokenStats) -> dict[str, Tensor]:
        """Policy, and KL and entropy where the algorithm has them."""
        return loss_terms(self._algorithm, batch, stats)

    @torch.no_grad()
    def measure(self, batch: Batch, stats: TokenStats, metrics: Metrics) -> None:
        """Entropy, distance to the reference and to the policy that started the step, share of clipped tokens."""
        mask, logprobs = batch.loss_mask, stats.logprobs.detach()
        tokens = int(mask.sum())
        metrics.add("policy/entropy", float(stats.entropy.detach()[mask].sum()), tokens)
        if batch.ref_logprobs is not None:
            metrics.add("policy/kl_ref", float(k3(logprobs, batch.ref_logprobs)[mask].sum()), tokens)
        if batch.old_logprobs is not None:
            metrics.add("policy/kl_old", float(k3(logprobs, batch.old_logprobs)[mask].sum()), tokens)
            clipped = clipped_tokens(self._algorithm, batch, logprobs)
            metrics.add("policy/clip_frac", float(clipped[mask].sum()), tokens)
        weights = sampler_correction(self._algorithm, batch, logprobs)
        if weights is not None:
            metrics.add("policy/tis_mean", float(weights[mask].sum()), tokens)
            metrics.add(
                "policy/tis_clip_frac", float(weights[mask].eq(self._algorithm.tis or 0.0).sum()), tokens
            )
        if self._is_first_update and tokens:
            gap = (logprobs - batch.sampling_logprobs).abs()[mask]
            metrics.maximum("policy/sampling_gap_max", float(gap.max()))


class Imitation:
    """The negative log-likelihood of demonstrations, per token."""

    reduction: Reduction = "token_mean"
    want: frozenset[Want] = frozenset()

    def moving(self, batch: Batch) -> Tensor:
        """Every row."""
        return torch.ones_like(batch.truncated)

    def terms(self, batch: Batch, stats: TokenStats) -> dict[str, Tensor]:
        """`nll`: minus the log-probability of each demonstrated token."""
        return {"nll": -stats.logprobs}

    def measure(self, batch: Batch, stats: TokenStats, metrics: Metrics) -> None:
        """Entropy of the policy along the demonstrations."""
        mask = batch.loss_mask
        metrics.add("policy/entropy", float(stats.entropy.detach()[mask].sum()), int(mask.sum()))
