"""DAPO: GRPO with more room upwards, a mean over tokens, and only prompts that teach something."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field

from whet.functional.advantages import group_normalized
from whet.functional.losses import clipped_surrogate, policy_ratio
from whet.functional.masking import row_lengths, spread
from whet.interfaces import Algorithm, Reduction
from whet.types import Batch, RolloutGroup

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class DAPO(Algorithm):
    """Advantages normalised inside the group, an asymmetric clip, and every token counted once.

        A_i   = (R_i - mean_g R) / (std_g R + 1e-4)                                 std with ddof 1
        l_it  = -min(w_it A_i, clip(w_it, 1 - 0.2, 1 + 0.28) A_i)
        L     = sum_it l_it / sum_i len_i
        R_i   = reward - overlong_penalty * clip((len_i - (L_max - L_c)) / L_c, 0, 1)

    with L_max the run's max_completion_length and L_c `overlong_buffer`. Against BNPO: unlikely tokens may
    grow further before they are clipped, groups without signal are replaced (dynamic sampling), and answers
    that run into the limit lose reward little by little. Source: Yu et al., 2503.14476, equations 8 to 13.
    """

    reduction: ClassVar[Reduction] = "token_mean"
    min_group_size: ClassVar[int] = 2

    epsilon: float = Field(default=0.2, ge=0.0, le=1.0)
    """How far below 1 a ratio may push."""
    epsilon_high: float = Field(default=0.28, ge=0.0)
    """How far above 1."""
    overlong_buffer: int = Field(default=0, ge=0)
    """L_c: the penalty grows over this many tokens before the limit; 0 is off (the paper: 4096 of 20480)."""
    overlong_penalty: float = Field(default=1.0, ge=0.0)
    """What a completion at the limit loses."""

    def keep(self, group: RolloutGroup) -> bool:
        """Whether the rewards of the group differ."""
        return group.has_signal

    def shape(self, batch: Batch) -> Float[Tensor, "B T"]:
        """Rewards with the penalty on long completions taken off at each row's last token.

        A truncated completion is L_max long, also where `mask_truncated_completions` has emptied its mask.
        """
        if self.overlong_buffer == 0:
            return batch.rewards
        length = torch.where(batch.truncated, batch.max_completion_length, row_lengths(batch.loss_mask))
        over = length - (batch.max_completion_length - self.overlong_buffer)
        penalty = self.overlong_penalty * (over / self.overlong_buffer).clamp(0.0, 1.0)
        last = torch.arange(batch.rewards.shape[1], device=length.device) == batch.lengths[:, None] - 1
        return batch.rewards - spread(penalty.to(batch.rewards.dtype), last)

    def advantages(self, batch: Batch, memory: dict[str, float]) -> Float[Tensor, "B T"]:
        """The group-normalised return at every trained token."""
        return spread(group_normalized(batch.rewards.sum(dim=-1), batch.group), batch.loss_mask)

    def policy_loss(self, batch: Batch, logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """The clipped surrogate of the token ratios."""
        assert batch.advantages is not None
        ratio = policy_ratio(logprobs, batch.old_logprobs)
        return clipped_surrogate(ratio, batch.advantages, self.epsilon, self.epsilon_high)
