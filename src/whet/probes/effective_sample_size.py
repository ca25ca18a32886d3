"""How much of a batch teaches anything."""

from __future__ import annotations

from collections.abc import Mapping

from whet.functional.masking import row_means
from whet.functional.statistics import kish_ess
from whet.interfaces import Probe
from whet.types import Batch


class EffectiveSampleSize(Probe):
    """Kish's effective number of sequences, with their absolute advantages as weights, and the groups with a signal.

        ESS = (sum_i |A_i|)^2 / sum_i A_i^2          |A_i|: mean over the trained tokens of sequence i

    In [1, N]; N when every sequence pulls equally hard, 0 when none pulls. A group has a signal when one of its
    advantages is not 0. Source: Kish 1965, Survey Sampling.
    """

    def annotated(self, batch: Batch) -> Mapping[str, float]:
        """`effective_sample_size/sequences` and `effective_sample_size/groups`."""
        assert batch.advantages is not None
        pull = row_means(batch.advantages.abs(), batch.loss_mask)
        return {
            "effective_sample_size/sequences": kish_ess(pull.tolist()),
            "effective_sample_size/groups": float(len(batch.group[pull > 0].unique())),
        }
