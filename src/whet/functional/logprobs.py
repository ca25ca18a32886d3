"""From hidden states to what a policy says of each token. The one place where predictions are shifted by one."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from whet.types import Batch, TokenStats


def token_stats(
    hidden: Tensor, head: Callable[[Tensor], Tensor], batch: Batch, entropy_gradient: bool
) -> TokenStats:
    """Log-probabilities and entropies of the trained tokens, `[B, T]`, zero elsewhere; float32 at least.

    hidden: `[B, T - 1, D]`; the state at t - 1 predicts token t, and the last token predicts nothing. head: states
    `[M, D]` -> logits `[M, V]`, applied only where a trained token is predicted. The distribution is
    softmax(logits / batch.temperature), the one sampled from. The entropy, in nats, carries a gradient only when
    asked for.
    """
    predicts = batch.loss_mask[:, 1:]  # a trained token always has one before it
    states = hidden[predicts]  # [M, D]
    targets = batch.token_ids[:, 1:][predicts]  # [M]
    logits = head(states)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / batch.temperature
    logprobs = -cross_entropy(logits, targets, reduction="none")
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        entropy = entropy_of(logits)
    return TokenStats(logprobs=_spread(logprobs, batch.loss_mask), entropy=_spread(entropy, batch.loss_mask))


def entropy_of(logits: Tensor) -> Tensor:
    """H = log sum exp(z) - sum softmax(z) z of logits `[..., V]`, in nats."""
    return logits.logsumexp(-1) - (logits.softmax(-1) * logits).sum(-1)


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    """Values `[M]` put back at the true positions of the mask `[B, T]`."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)
