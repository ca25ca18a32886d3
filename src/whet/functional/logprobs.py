"""From hidden states to what a policy says of each token. The one place where predictions are shifted by one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from whet.types import Batch, TokenStats

MAX_LOGITS = 2**25
"""Logits held at once, 128 MiB in float32, where there are more than one row of them."""

Head = Callable[[Tensor], Tensor]


def token_stats(hidden: Tensor, head: Head, batch: Batch, entropy_gradient: bool) -> TokenStats:
    """Log-probabilities and entropies of the trained tokens, `[B, T]`, zero elsewhere; float32 at least.

    hidden: `[B, T - 1, D]`; the state at t - 1 predicts token t, and the last token predicts nothing. head: states
    `[M, D]` -> logits `[M, V]`, applied only where a trained token is predicted. The distribution is
    softmax(logits / batch.temperature), the one sampled from. The entropy, in nats, carries a gradient only when
    asked for.

    Logits exist for some rows at a time, and are computed again in the backward pass where they do not all fit into
    `MAX_LOGITS`: what they take does not grow with the batch.
    """
    predicts = batch.loss_mask[:, 1:]  # a trained token always has one before it
    states = hidden[predicts]  # [M, D]
    targets = batch.token_ids[:, 1:][predicts]  # [M]
    with torch.no_grad():
        vocab_size = head(states[:1]).shape[-1]
    rows = max(1, MAX_LOGITS // vocab_size)
    call = _again if len(states) > rows and torch.is_grad_enabled() else _once
    parts = [
        call(_row_stats, some, theirs, head, batch.temperature, entropy_gradient)
        for some, theirs in zip(states.split(rows), targets.split(rows), strict=True)
    ]
    logprobs, entropy = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return TokenStats(logprobs=_spread(logprobs, batch.loss_mask), entropy=_spread(entropy, batch.loss_mask))


def _row_stats(
    states: Tensor, targets: Tensor, head: Head, temperature: float, entropy_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy beside it, `[m]` each."""
    logits = head(states)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    logprobs = -cross_entropy(logits, targets, reduction="none")
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        entropy = entropy_of(logits)
    return logprobs, entropy


def _once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _again(function: Callable[..., Any], *arguments: Any) -> Any:
    """Keeps the arguments alone; what the backward pass needs is computed again there."""
    return checkpoint(function, *arguments, use_reentrant=False)


def entropy_of(logits: Tensor) -> Tensor:
    """H = log sum exp(z) - sum softmax(z) z of logits `[..., V]`, in nats."""
    return logits.logsumexp(-1) - (logits.softmax(-1) * logits).sum(-1)


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    """Values `[M]` put back at the true positions of the mask `[B, T]`."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)
