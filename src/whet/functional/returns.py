"""Returns from rewards. Time is the last axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


def returns_to_go(
    rewards: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], gamma: float = 1.0
) -> Float[Tensor, "B T"]:
    """G_t = r_t + gamma G_{t+1} at every trained token, 0 elsewhere.

    A masked token (prompt, observation, padding) is no step in time: it hands the sum on undiscounted, and a
    reward that arrives there is added, so it counts for the tokens before it.
    """
    returns = torch.zeros_like(rewards)
    ahead = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        ahead = rewards[:, t] + torch.where(mask[:, t], gamma * ahead, ahead)
        returns[:, t] = ahead
    return torch.where(mask, returns, 0.0)
