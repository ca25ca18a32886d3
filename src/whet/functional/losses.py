"""Per-token policy losses and the importance ratios in them.

The ratio of a token is w = pi(a|s) / pi_old(a|s), from log-probabilities now and at the start of the step.
Without old log-probabilities the policy is its own past: w = exp(logp - sg(logp)) is exactly 1, and its
gradient is that of logp (sg stops the gradient). Log ratios are clamped to +-20 before exp: one stray token
with log ratio 100 would otherwise turn `0 * inf` into a NaN gradient for the whole model. Beyond the clamp a
token has no gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from whet.functional.masking import row_means, row_sums

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

MAX_LOG_RATIO = 20.0


def policy_ratio(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"] | None,
    max_log_ratio: float = MAX_LOG_RATIO,
) -> Float[Tensor, "B T"]:
    """w_t = exp(logp_t - old_t), one ratio per token."""
    return (logprobs - _old(logprobs, old_logprobs)).clamp(-max_log_ratio, max_log_ratio).exp()


def sequence_ratio(
    logprobs: Float[Tensor, "B T"], old_logprobs: Float[Tensor, "B T"] | None, mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """s_i = exp(mean_t (logp_t - old_t)) at every token: the geometric mean of the token ratios.

    In the GSPO-token form exp(logp_t - sg(logp_t) + sg(log s_i)): every token has the value s_i and the
    gradient s_i * grad logp_t, so the mean over tokens has the gradient of s_i. Source: 2507.18071, eq. 7 and
    14.
    """
    log_ratio = row_means((logprobs - _old(logprobs, old_logprobs)).detach(), mask)[:, None]
    return (logprobs - logprobs.detach() + log_ratio).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def sequence_product_ratio(
    logprobs: Float[Tensor, "B T"], old_logprobs: Float[Tensor, "B T"] | None, mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """W_i = exp(sum_t (logp_t - old_t)) at every token: the ratio of the probabilities of whole completions.

    Under the reduction `sequence_mean` the tokens of a row add up to W_i, value and gradient.
    """
    log_ratio = row_sums(logprobs - _old(logprobs, old_logprobs), mask)
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()[:, None].expand_as(logprobs)


def clipped_surrogate(
    ratio: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    epsilon: float,
    epsilon_high: float | None = None,
) -> Float[Tensor, "B T"]:
    """-min(w A, clip(w, 1 - epsilon, 1 + epsilon_high) A).

    A token's gradient vanishes once its ratio has moved past the bound in the direction that its advantage
    asks for; moving back is never stopped. epsilon_high: None is epsilon. Source: PPO, 1707.06347, eq. 7.
    """
    high = epsilon if epsilon_high is None else epsilon_high
    return -torch.minimum(ratio * advantages, ratio.clamp(1.0 - epsilon, 1.0 + high) * advantages)


def cispo_loss(
    ratio: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    logprobs: Float[Tensor, "B T"],
    lowest: float,
    highest: float,
) -> Float[Tensor, "B T"]:
    """-sg(clip(w, lowest, highest)) A logp: REINFORCE with a truncated importance weight.

    Every token keeps a gradient, also where a clipped surrogate would drop it. The bounds are those of the
    ratio itself, not distances from 1. Source: MiniMax-M1, 2506.13585, eq. 4 and 5.
    """
    return -ratio.clamp(lowest, highest).detach() * advantages * logprobs


def truncated_importance(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"] | None,
    sampling_logprobs: Float[Tensor, "B T"],
    cap: float,
) -> Float[Tensor, "B T"]:
    """min(exp(old_t - sampling_t), cap), one weight per token and no gradient.

    The token was drawn from the sampler's pi, which is not the trainer's when the two compute differently; in
    expectation the weight makes it the trainer's, and the cap bounds its variance. Without old log-probabilities those
    of now are the old ones. Source: Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL
    Training".
    """
    log_ratio = _old(logprobs, old_logprobs).detach() - sampling_logprobs
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp().clamp(max=cap)


def _old(logprobs: Tensor, old_logprobs: Tensor | None) -> Tensor:
    return logprobs.detach() if old_logprobs is None else old_logprobs
