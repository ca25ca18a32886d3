"""How likely held-out demonstrations are: what a supervised stage is measured by where nothing scores an answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from whet.config import SamplingConfig
from whet.functional.statistics import Interval, confidence_interval
from whet.interfaces import Policy
from whet.rollouts.batch import make_batch, microbatches
from whet.types import Rollout, RolloutGroup


@torch.no_grad()
def demonstration_nll(policy: Policy, rollouts: Sequence[Rollout], microbatch_tokens: int) -> Interval:
    """Mean negative log-likelihood per token of demonstrations (one or more), in nats, clustered by demonstration."""
    groups = [RolloutGroup(example=r.example, rollouts=(r,)) for r in rollouts]
    batch = make_batch(groups, SamplingConfig(), next(policy.module.parameters()).device)
    sums = torch.zeros(len(batch), dtype=torch.float64, device=batch.lengths.device)
    training = policy.module.training
    policy.module.eval()
    try:
        for rows in microbatches(batch, microbatch_tokens, policy.packs):
            sums[rows] = -policy.forward(batch.rows(rows)).logprobs.sum(-1).double()
    finally:
        policy.module.train(training)
    lengths = [float(r.completion_length) for r in rollouts]
    means = [total / length for total, length in zip(sums.tolist(), lengths, strict=True)]
    return confidence_interval(means, [r.example.id for r in rollouts], weights=lengths)
