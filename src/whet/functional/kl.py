"""Estimators of the KL divergence to a reference, one number per sampled token, and what their gradients are.

With x drawn from pi and r = pi_ref(x) / pi(x) (http://joschu.net/blog/kl-approx.html):

    estimator     per token       expected value    gradient as a loss term    gradient inside the reward
    k1            -log r          KL(pi, ref)       0: it regularises nothing  grad KL(pi, ref), wanted
    k2            (log r)^2 / 2   biased            grad KL(pi, ref), wanted
    k3            r - 1 - log r   KL(pi, ref)       grad KL(ref, pi)
    weighted_k3   w k3            KL(pi, ref)       grad KL(pi, ref), wanted

The value of an estimator says nothing about its gradient: the samples are fixed, so the gradient misses that
they would move with the policy. The differentiable ratio w = pi / pi_old puts this back; on-policy it is 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from whet.functional.losses import MAX_LOG_RATIO, policy_ratio

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from whet.interfaces import KLEstimator


def k1(logprobs: Float[Tensor, "B T"], ref_logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """-log r. Unbiased, of either sign; for use inside the reward."""
    return logprobs - ref_logprobs


def k2(logprobs: Float[Tensor, "B T"], ref_logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """(log r)^2 / 2. As a loss its gradient is that of KL(pi, ref)."""
    return 0.5 * (logprobs - ref_logprobs).square()


def k3(logprobs: Float[Tensor, "B T"], ref_logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """r - 1 - log r. Unbiased and never negative; as a loss its gradient is that of KL(ref, pi).

    The log ratio is clamped to +-20 in both terms.
    """
    log_r = (ref_logprobs - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(log_r) - log_r


def weighted_k3(
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T"]:
    """w k3. As a loss its gradient is that of KL(pi, ref), also once the policy is not the one that sampled.

    TRL's `use_bias_correction_kl`. Source: DeepSeek-V3.2, 2512.02556, section 3.1.
    """
    return policy_ratio(logprobs, old_logprobs) * k3(logprobs, ref_logprobs)


def kl_estimate(
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"],
    estimator: KLEstimator,
    old_logprobs: Float[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T"]:
    """The estimator of this name."""
    if estimator == "weighted_k3":
        return weighted_k3(logprobs, ref_logprobs, old_logprobs)
    return {"k1": k1, "k2": k2, "k3": k3}[estimator](logprobs, ref_logprobs)
