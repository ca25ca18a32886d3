"""From an algorithm's declarations to the named per-token terms of the loss."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from whet.functional.kl import k1, kl_estimate
from whet.functional.losses import truncated_importance
from whet.interfaces import Algorithm
from whet.types import Batch, TokenStats

if TYPE_CHECKING:
    from torch import Tensor


def with_advantages(batch: Batch, algorithm: Algorithm, memory: dict[str, float]) -> Batch:
    """The batch with the rewards that the algorithm learns from, and their advantages.

    Truncated completions lose their mask where the algorithm wants that. Their rewards stay in the baseline.
    """
    if algorithm.mask_truncated_completions:
        batch = dataclasses.replace(batch, loss_mask=batch.loss_mask & ~batch.truncated[:, None])
    batch = dataclasses.replace(batch, rewards=reward_with_kl(algorithm, batch))
    is_empty = len(batch) == 0
    advantages = torch.zeros_like(batch.rewards) if is_empty else algorithm.advantages(batch, memory)
    return dataclasses.replace(batch, advantages=advantages)


def reward_with_kl(algorithm: Algorithm, batch: Batch) -> Tensor:
    """Rewards `[B, T]` as the algorithm shapes them, minus beta * k1 per token where KL is in the reward."""
    rewards = algorithm.shape(batch)
    if not algorithm.needs_reference or algorithm.kl_in != "reward":
        return rewards
    assert batch.old_logprobs is not None and batch.ref_logprobs is not None
    penalty = algorithm.beta * k1(batch.old_logprobs, batch.ref_logprobs)
    return rewards - torch.where(batch.loss_mask, penalty, 0.0)


def loss_terms(algorithm: Algorithm, batch: Batch, stats: TokenStats) -> dict[str, Tensor]:
    """The terms of the loss, coefficients included, each `[B, T]` and 0 outside `loss_mask`.

    The scalar is the sum over terms of `(batch.loss_weights * term).sum()`. Keys: `policy` always, `kl` when
    it is in the loss, `entropy` when it has a coefficient.
    """
    mask = batch.loss_mask
    # On the way in as well as out: no term can give a masked token a gradient, not even a NaN.
    logprobs = torch.where(mask, stats.logprobs, 0.0)
    policy = algorithm.policy_loss(batch, logprobs)
    weights = sampler_correction(algorithm, batch, logprobs)
    terms = {"policy": policy if weights is None else policy * weights}
    if algorithm.needs_reference and algorithm.kl_in == "loss":
        assert batch.ref_logprobs is not None
        terms["kl"] = algorithm.beta * kl_estimate(
            logprobs, batch.ref_logprobs, algorithm.kl_estimator, batch.old_logprobs
        )
    if algorithm.entropy_coef > 0:
        terms["entropy"] = -algorithm.entropy_coef * stats.entropy
    return {name: torch.where(mask, term, 0.0) for name, term in terms.items()}


def sampler_correction(algorithm: Algorithm, batch: Batch, logprobs: Tensor) -> Tensor | None:
    """What the policy term of each token `[B, T]` is multiplied by; None where the algorithm asks for no correction."""
    if algorithm.tis is None:
        return None
    return truncated_importance(logprobs, batch.old_logprobs, batch.sampling_logprobs, algorithm.tis)


def clipped_tokens(algorithm: Algorithm, batch: Batch, logprobs: Tensor) -> Tensor:
    """Where the policy term leaves a trained token with an advantage without gradient, bool `[B, T]`.

    For a clipped surrogate this is w < 1 - epsilon with A < 0, or w > 1 + epsilon_high with A > 0, with the
    ratio that the algorithm really clips: TRL's convention. Stable-Baselines3 counts every |w - 1| > epsilon,
    also where the gradient is alive. An algorithm that clips no gradient has none.
    """
    assert batch.advantages is not None
    leaf = torch.where(batch.loss_mask, logprobs.detach(), 0.0).requires_grad_()
    with torch.enable_grad():
        term = torch.where(batch.loss_mask, algorithm.policy_loss(batch, leaf), 0.0)
        (gradient,) = torch.autograd.grad(term.sum(), leaf)
    return batch.loss_mask & (batch.advantages != 0) & (gradient == 0)
