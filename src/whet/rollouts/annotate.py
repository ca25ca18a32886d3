"""Adds to a batch what only a forward pass can tell: log-probabilities of the policy as it starts the step, and
of the reference."""

import dataclasses

import torch
from torch import Tensor

from whet.interfaces import Algorithm, Policy
from whet.rollouts.batch import microbatches, minibatches
from whet.rollouts.reference import Reference
from whet.types import Batch


def annotate(
    batch: Batch, algorithm: Algorithm, policy: Policy, reference: Reference | None, max_tokens: int
) -> Batch:
    """The batch with what the algorithm needs; nothing is computed that it does not need."""
    parts = minibatches(batch, algorithm.num_minibatches)
    if algorithm.needs_old_logprobs:
        batch = dataclasses.replace(batch, old_logprobs=_logprobs(batch, policy, parts, max_tokens))
    if algorithm.needs_reference:
        assert reference is not None
        batch = dataclasses.replace(batch, ref_logprobs=_logprobs(batch, reference, parts, max_tokens))
    return batch


@torch.no_grad()
def _logprobs(batch: Batch, policy: Policy | Reference, parts: list[Tensor], max_tokens: int) -> Tensor:
    """Log-probabilities `[B, T]`, cut exactly as the updates will be: the first ratio is 1 to the last bit."""
    logprobs = torch.zeros_like(batch.sampling_logprobs)
    for rows in parts:
        minibatch = batch.rows(rows)
        for micro in microbatches(minibatch, max_tokens, policy.packs):
            part = minibatch.rows(micro)
            logprobs[rows[micro], : part.token_ids.shape[1]] = policy.forward(part).logprobs
    return logprobs
