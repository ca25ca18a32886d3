"""How much of a gradient is signal: whether a larger batch would pay."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from whet.interfaces import Probe, RowLoss
from whet.types import Batch


class GradientNoise(Probe):
    """Unbiased estimates of |G|^2 and tr(Sigma), with the prompt group as the independent unit.

    With g_i the gradient of group i out of P (its share of the update's loss, times P), and G_P their mean, which
    is the update's own gradient:

        tr(Sigma)  ~  (mean_i |g_i|^2 - |G_P|^2) / (1 - 1/P)
        |G|^2      ~  (P |G_P|^2 - mean_i |g_i|^2) / (P - 1)

    Their ratio is the simple noise scale, in groups: the batch at which noise and signal are equal. Average each
    of the two over steps first, then divide: the ratio of one step is biased, and its |G|^2 may be negative.
    Completions of one prompt are not independent, hence groups. Costs one more backward pass a look: raise
    `every`. Source: McCandlish et al. 2018, 1812.06162, appendix A.1, with B_small = 1 and B_big = P.
    """

    def before_update(self, batch: Batch, loss_of: RowLoss) -> Mapping[str, float]:
        """`gradient_noise/squared_norm` and `gradient_noise/trace`; nothing for fewer than two groups."""
        groups = batch.group.unique()
        count = len(groups)
        if count < 2:
            return {}
        total, small = torch.zeros(()), 0.0
        for group in groups:
            gradient = count * loss_of.gradient((batch.group == group).nonzero()[:, 0])
            total = total + gradient
            small += float(gradient.square().sum()) / count
        big = float((total / count).square().sum())
        return {
            "gradient_noise/squared_norm": (count * big - small) / (count - 1),
            "gradient_noise/trace": (small - big) / (1 - 1 / count),
        }
