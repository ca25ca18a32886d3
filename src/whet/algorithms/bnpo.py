"""BNPO: GRPO with one mean over all tokens."""

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


class BNPO(Algorithm):
    """Advantages normalised inside the group, a clipped surrogate, and every token counted once.

        A_i   = (R_i - mean_g R) / (std_g R + 1e-4)                                 std with ddof 1
        l_it  = -min(w_it A_i, clip(w_it, 1 - epsilon, 1 + epsilon_high) A_i)
        L     = sum_it l_it / sum_i len_i

    Against GRPO: long completions weigh more, by their length. Against DAPO: symmetric clipping, and every
    group is kept. The mean is over the tokens of the whole update. TRL's loss_type "bnpo" takes it over each
    micro-batch and averages those, so the two agree only when the update is not split.
    """

    reduction: ClassVar[Reduction] = "token_mean"
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
