"""CISPO: clips the importance weight, never the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from whet.functional.advantages import group_normalized
from whet.functional.losses import cispo_loss, policy_ratio
from whet.functional.masking import spread
from whet.interfaces import Algorithm, Reduction
from whet.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class CISPO(Algorithm):
    """Advantages normalised inside the group, REINFORCE with a truncated weight, each token counted once.

        A_i   = (R_i - mean_g R) / (std_g R + 1e-4)                                 std with ddof 1
        l_it  = -sg(clip(w_it, 1 - epsilon, 1 + epsilon_high)) A_i logp_it
        L     = sum_it l_it / sum_i len_i

    Against DAPO: rare tokens that begin a new thought keep their gradient after their ratio has left the
    bounds. The default bounds are [0, 5], no lower one, as in the paper's experiments. TRL's epsilon_high is
    the cap itself, 5.0. Source: MiniMax-M1, 2506.13585, equations 4 and 5.
    """

    reduction: ClassVar[Reduction] = "token_mean"
    min_group_size: ClassVar[int] = 2

    epsilon: float = Field(default=1.0, ge=0.0, le=1.0)
    """The weight is at least 1 - epsilon; 1 is no lower bound."""
    epsilon_high: float = Field(default=4.0, ge=0.0)
    """The weight is at most 1 + epsilon_high."""

    def advantages(self, batch: Batch, memory: dict[str, float]) -> Float[Tensor, "B T"]:
        """The group-normalised return at every trained token."""
        return spread(group_normalized(batch.rewards.sum(dim=-1), batch.group), batch.loss_mask)

    def policy_loss(self, batch: Batch, logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """The log-probabilities, weighted by truncated ratio and advantage."""
        assert batch.advantages is not None
        ratio = policy_ratio(logprobs, batch.old_logprobs)
        return cispo_loss(ratio, batch.advantages, logprobs, 1.0 - self.epsilon, 1.0 + self.epsilon_high)
