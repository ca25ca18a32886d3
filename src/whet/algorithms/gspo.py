"""GSPO: GRPO with one importance ratio for the whole completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from whet.functional.advantages import group_normalized
from whet.functional.losses import clipped_surrogate, sequence_ratio
from whet.functional.masking import spread
from whet.interfaces import Algorithm, Reduction
from whet.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class GSPO(Algorithm):
    """Advantages normalised inside the group, a clipped sequence ratio, and every sequence counted once.

        s_i   = exp(1/len_i sum_t (logp_it - old_it))
        l_i   = -min(s_i A_i, clip(s_i, 1 - epsilon, 1 + epsilon_high) A_i)
        L     = 1/N sum_i l_i

    Against GRPO: a completion is kept or clipped as a whole, as it was rewarded as a whole. The geometric
    mean stays close to 1, hence the tiny bounds. Against RLOO: a mean of log ratios, not their sum. The KL
    term, if any, keeps token ratios (TRL's takes s_i there). Source: Zheng et al., 2507.18071, equations 5 to
    7.
    """

    reduction: ClassVar[Reduction] = "sequence_mean"
    min_group_size: ClassVar[int] = 2

    epsilon: float = Field(default=3e-4, ge=0.0, le=1.0)
    """How far below 1 a sequence ratio may push."""
    epsilon_high: float | None = Field(default=4e-4, ge=0.0)
    """How far above 1; null: epsilon."""

    def advantages(self, batch: Batch, memory: dict[str, float]) -> Float[Tensor, "B T"]:
        """The group-normalised return at every trained token."""
        return spread(group_normalized(batch.rewards.sum(dim=-1), batch.group), batch.loss_mask)

    def policy_loss(self, batch: Batch, logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """The clipped surrogate of the sequence ratio, at every token."""
        assert batch.advantages is not None
        ratio = sequence_ratio(logprobs, batch.old_logprobs, batch.loss_mask)
        return clipped_surrogate(ratio, batch.advantages, self.epsilon, self.epsilon_high)
