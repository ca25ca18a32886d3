"""GRPO: the other completions of the prompt are the critic."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from whet.functional.advantages import group_normalized
from whet.functional.losses import clipped_surrogate, policy_ratio
from whet.functional.masking import spread
from whet.interfaces import Algorithm, Reduction
from whet.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class GRPO(Algorithm):
    """Advantages normalised inside the group, a clipped surrogate, and every sequence counted once.

        A_i   = (R_i - mean_g R) / (std_g R + 1e-4)                                 std with ddof 1
        l_it  = -min(w_it A_i, clip(w_it, 1 - epsilon, 1 + epsilon_high) A_i)
        L     = 1/N sum_i 1/len_i sum_t l_it

    Against Dr. GRPO: divides by the group's standard deviation and by each completion's length. Against BNPO
    and DAPO: the mean is over sequences, not tokens. Source: Shao et al., DeepSeekMath, 2402.03300, equation
    3.
    """

    reduction: ClassVar[Reduction] = "sequence_mean"
    min_group_size: ClassVar[int] = 2

    epsilon: float = Field(default=0.2, ge=0.0, le=1.0)
    """How far below 1 a ratio may push."""
    epsilon_high: float | None = Field(default=None, ge=0.0)
    """How far above 1; default: epsilon."""

    def advantages(self, batch: Batch, memory: dict[str, float]) -> Float[Tensor, "B T"]:
        """The group-normalised return at every trained token."""
        return spread(group_normalized(batch.rewards.sum(dim=-1), batch.group), batch.loss_mask)

    def policy_loss(self, batch: Batch, logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """The clipped surrogate of the token ratios."""
        assert batch.advantages is not None
        ratio = policy_ratio(logprobs, batch.old_logprobs)
        return clipped_surrogate(ratio, batch.advantages, self.epsilon, self.epsilon_high)
