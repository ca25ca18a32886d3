"""How open the policy still is: the entropy of the distributions that its completions were drawn from."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from whet.config import SamplingConfig
from whet.interfaces import Policy
from whet.rollouts.batch import make_batch, microbatches
from whet.types import RolloutGroup


@torch.no_grad()
def entropy_means(
    policy: Policy, groups: Sequence[RolloutGroup], sampling: SamplingConfig, microbatch_tokens: int
) -> list[float]:
    """The mean entropy per token, in nats, of every scored rollout, group by group. The module's mode is
    kept."""
    if not any(group.scored for group in groups):
        return []
    device = next(policy.module.parameters()).device
    batch = make_batch(groups, sampling, device)
    means = torch.zeros(len(batch), device=device)
    training = policy.module.training
    policy.module.eval()
    try:
        for rows in microbatches(batch, microbatch_tokens, policy.packs):
            part = batch.rows(rows)
            entropy = policy.forward(part).entropy
            assert entropy is not None
            means[rows] = entropy.sum(-1) / part.loss_mask.sum(-1).clamp(min=1)
    finally:
        policy.module.train(training)
    return [float(mean) for mean in means.tolist()]
