"""Advantages of whole completions from their returns, and whitening over a batch.

Groups may differ in size, because failed rollouts leave them. Returns are taken relative to the smallest one
first, which changes no difference and makes the advantages of equal returns exactly 0 instead of rounding
noise / eps. Standard deviations have ddof 1, and eps is added outside the root: x / (std + eps).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

EPS = 1e-4


def group_mean(returns: Float[Tensor, " B"], group: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """mean_g R for each row. group: rows with equal numbers form a group."""
    same = _same_group(group)
    lowest = torch.where(same, returns, torch.inf).amin(dim=-1)
    return lowest + (same.to(returns.dtype) @ (returns - lowest)) / same.sum(dim=-1)


def group_centered(returns: Float[Tensor, " B"], group: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """R_i - mean_g R, summing to 0 over each group. A group of one gets 0. Source: Dr. GRPO, 2503.20783."""
    return returns - group_mean(returns, group)


def group_normalized(
    returns: Float[Tensor, " B"], group: Int[Tensor, " B"], eps: float = EPS
) -> Float[Tensor, " B"]:
    """(R_i - mean_g R) / (std_g R + eps). A group of one gets 0. Source: GRPO, 2402.03300, section 4.1.2."""
    same = _same_group(group)
    centered = group_centered(returns, group)
    variance = (same.to(returns.dtype) @ centered.square()) / (same.sum(dim=-1) - 1).clamp(min=1)
    return centered / (variance.sqrt() + eps)


def leave_one_out(returns: Float[Tensor, " B"], group: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """R_i minus the mean of the others in its group, which equals G / (G - 1) * (R_i - mean_g R).

    The baseline does not depend on the completion that it judges, so the gradient is unbiased. A group of one
    gets 0. Source: RLOO, 2402.14740, equation 7.
    """
    size = _same_group(group).sum(dim=-1)
    return group_centered(returns, group) * size / (size - 1).clamp(min=1)


def moments(values: Float[Tensor, " K"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean and standard deviation of K >= 1 values; of one value, or of equal ones, the latter is 0."""
    lowest = values.amin()
    mean = lowest + (values - lowest).mean()
    variance = (values - mean).square().sum() / max(len(values) - 1, 1)
    return mean, variance.sqrt()


def whiten(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], eps: float = EPS) -> Float[Tensor, "B T"]:
    """(x - mean) / (std + eps) over the trained tokens of the whole batch; 0 outside the mask."""
    if not mask.any():
        return torch.zeros_like(values)
    mean, std = moments(values[mask])
    return torch.where(mask, (values - mean) / (std + eps), 0.0)


def _same_group(group: Tensor) -> Tensor:
    return group[:, None] == group  # [B, B]: a product with it sums over groups in a fixed order everywhere
