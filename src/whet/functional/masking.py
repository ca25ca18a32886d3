"""Sums and means over the true places of a mask. A NaN elsewhere changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


def row_lengths(mask: Bool[Tensor, "B T"]) -> Int[Tensor, " B"]:
    """The number of true places of each row."""
    return mask.sum(dim=-1)


def row_sums(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """sum_t m_t x_t of each row; 0 for an empty row."""
    return torch.where(mask, values, 0.0).sum(dim=-1)


def row_means(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """sum_t m_t x_t / sum_t m_t of each row; 0 for an empty row."""
    return row_sums(values, mask) / row_lengths(mask).clamp(min=1)


def spread(values: Float[Tensor, " B"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Each row's value at all its true places, 0 elsewhere."""
    return torch.where(mask, values[:, None], 0.0)
