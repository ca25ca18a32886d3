"""Dr. GRPO: GRPO done right, without the two divisions that bias it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from whet.functional.advantages import group_centered
from whet.functional.losses import clipped_surrogate, policy_ratio
from whet.functional.masking import spread
from whet.interfaces import Algorithm, Reduction
from whet.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class DrGRPO(Algorithm):
    """Advantages relative to the group's mean, a clipped surrogate, and a constant denominator.

        A_i   = R_i - mean_g R
        l_it  = -min(w_it A_i, clip(w_it, 1 - epsilon, 1 + epsilon_high) A_i)
        L     = sum_it l_it / (N * max_completion_length)

    Against GRPO: no division by the group's standard deviation, which favours very easy and very hard
    prompts, and none by the completion's own length, which makes long wrong answers cheap. Source: Liu et
    al., 2503.20783.
    """

    reduction: ClassVar[Reduction] = "constant"
    min_group_size: ClassVar[int] = 2

    epsilon: float = Field(default=0.2, ge=0.0, le=1.0)
    """How far below 1 a ratio may push."""
    epsilon_high: float | None = Field(default=None, ge=0.0)
    """How far above 1; default: epsilon."""

    def advantages(self, batch: Batch, memory: dict[str, float]) -> Float[Tensor, "B T"]:
        """The group-centred return at every trained token."""
        return spread(group_centered(batch.rewards.sum(dim=-1), batch.group), batch.loss_mask)

    def policy_loss(self, batch: Batch, logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """The clipped surrogate of the token ratios."""
        assert batch.advantages is not None
        ratio = policy_ratio(logprobs, batch.old_logprobs)
        return clipped_surrogate(ratio, batch.advantages, self.epsilon, self.epsilon_high)
