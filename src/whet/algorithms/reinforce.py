"""REINFORCE: raise the log-probability of what was rewarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from whet.functional.advantages import EPS, moments
from whet.functional.losses import policy_ratio
from whet.functional.masking import spread
from whet.interfaces import Algorithm, Reduction
from whet.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Reinforce(Algorithm):
    """The score-function gradient with a baseline b.

        A_i   = R_i - b                    b = 0, the batch's mean return, or a running mean of past steps
        l_it  = -sg(w_it) A_i logp_it      w_it = 1 on-policy: the plain -A_i logp_it
        L     = sum_it l_it / (N * max_completion_length)

    A constant denominator leaves the gradient of the expected return as it is, up to scale. Later updates of
    a step carry the importance weight w per token, without any clipping: take few. Against RLOO: one baseline
    for all prompts. Source: Williams 1992, doi 10.1007/BF00992696.
    """

    reduction: ClassVar[Reduction] = "constant"

    baseline: Literal["none", "batch", "running"] = "batch"
    running_decay: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Weight of the past in the running baseline, which starts as the first batch's mean."""
    normalize_returns: bool = False
    """Divide by the standard deviation of the batch's returns (ddof 1) + 1e-4."""

    def advantages(self, batch: Batch, memory: dict[str, float]) -> Float[Tensor, "B T"]:
        """The return above the baseline, at every trained token. The running mean lives in `memory`."""
        returns = batch.rewards.sum(dim=-1)
        mean, std = moments(returns)
        advantages = returns - self._baseline(float(mean), memory)
        if self.normalize_returns:
            advantages = advantages / (std + EPS)
        return spread(advantages, batch.loss_mask)

    def policy_loss(self, batch: Batch, logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """The log-probabilities, weighted by ratio and advantage."""
        assert batch.advantages is not None
        weight = policy_ratio(logprobs, batch.old_logprobs).detach()
        return -weight * batch.advantages * logprobs

    def _baseline(self, mean: float, memory: dict[str, float]) -> float:
        if self.baseline == "none":
            return 0.0
        if self.baseline == "batch":
            return mean
        # Taken before the update, so that it does not depend on the completions that it judges.
        past = memory.get("baseline", mean)
        memory["baseline"] = self.running_decay * past + (1.0 - self.running_decay) * mean
        return past
