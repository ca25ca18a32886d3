"""REINFORCE++: no critic and no groups, one normalisation over the whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from whet.functional.advantages import group_mean, whiten
from whet.functional.losses import clipped_surrogate, policy_ratio
from whet.functional.returns import returns_to_go
from whet.interfaces import Algorithm, Reduction
from whet.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class ReinforcePP(Algorithm):
    """Returns-to-go of rewards that hold a KL penalty per token, whitened over all tokens of the step.

        r_it  = reward at the last token - beta (old_it - ref_it)
        G_it  = r_it + gamma G_i,t+1
        A_it  = (G_it - mean G) / (std G + 1e-4)            over every trained token; std with ddof 1
        l_it  = -min(w_it A_it, clip(w_it, 1 - epsilon, 1 + epsilon_high) A_it)
        L     = sum_it l_it / sum_i len_i

    Against GRPO: one scale for all prompts, so an easy prompt with one failure is not blown up, and one
    completion per prompt is enough. Source: Hu et al., 2501.03262, equations 7 to 10.
    """

    reduction: ClassVar[Reduction] = "token_mean"

    kl_in: Literal["loss", "reward"] = "reward"
    """In the reward the estimator is k1 per token, and its gradient is that of the reverse KL."""
    epsilon: float = Field(default=0.2, ge=0.0, le=1.0)
    """How far below 1 a ratio may push."""
    epsilon_high: float | None = Field(default=None, ge=0.0)
    """How far above 1; default: epsilon."""
    gamma: float = Field(default=1.0, ge=0.0, le=1.0)
    """Discount per trained token."""
    group_baseline: bool = False
    """Subtract the group's mean return first ("REINFORCE++-baseline")."""

    def advantages(self, batch: Batch, memory: dict[str, float]) -> Float[Tensor, "B T"]:
        """Whitened returns-to-go at every trained token."""
        returns = returns_to_go(batch.rewards, batch.loss_mask, self.gamma)
        if self.group_baseline:
            returns = returns - group_mean(batch.rewards.sum(dim=-1), batch.group)[:, None]
        return whiten(returns, batch.loss_mask)

    def policy_loss(self, batch: Batch, logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """The clipped surrogate of the token ratios."""
        assert batch.advantages is not None
        ratio = policy_ratio(logprobs, batch.old_logprobs)
        return clipped_surrogate(ratio, batch.advantages, self.epsilon, self.epsilon_high)
