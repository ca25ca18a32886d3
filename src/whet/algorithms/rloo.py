"""RLOO: REINFORCE whose baseline is the mean of the other completions of the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from whet.functional.advantages import leave_one_out
from whet.functional.losses import clipped_surrogate, sequence_product_ratio
from whet.functional.masking import spread
from whet.interfaces import Algorithm, Reduction
from whet.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class RLOO(Algorithm):
    """Leave-one-out advantages, and the completion as one action.

        A_i   = R_i - 1/(G-1) sum_{j != i} R_j
        W_i   = exp(sum_t (logp_it - old_it))
        l_i   = -min(W_i A_i, clip(W_i, 1 - epsilon, 1 + epsilon_high) A_i)
        L     = 1/N sum_i l_i

    Against Dr. GRPO: the baseline leaves the completion itself out (a factor G / (G-1)), and the ratio is
    that of whole completions, a product. On-policy the gradient is 1/N sum_i A_i sum_t grad logp_it, without
    any length in the denominator. Source: Ahmadian et al., 2402.14740, equation 7; the clipped ratio as in
    TRL.
    """

    reduction: ClassVar[Reduction] = "sequence_mean"
    min_group_size: ClassVar[int] = 2

    kl_in: Literal["loss", "reward"] = "reward"
    """In the reward the estimator is k1 per token, and its gradient is that of the reverse KL."""
    epsilon: float = Field(default=0.2, ge=0.0, le=1.0)
    """How far below 1 a ratio may push."""
    epsilon_high: float | None = Field(default=None, ge=0.0)
    """How far above 1; default: epsilon."""

    def advantages(self, batch: Batch, memory: dict[str, float]) -> Float[Tensor, "B T"]:
        """The return above the mean of the others, at every trained token."""
        return spread(leave_one_out(batch.rewards.sum(dim=-1), batch.group), batch.loss_mask)

    def policy_loss(self, batch: Batch, logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """The clipped surrogate of the completion's ratio, at every token."""
        assert batch.advantages is not None
        ratio = sequence_product_ratio(logprobs, batch.old_logprobs, batch.loss_mask)
        return clipped_surrogate(ratio, batch.advantages, self.epsilon, self.epsilon_high)
