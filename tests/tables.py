"""A policy that is one table of logits, and batches drawn as pictures.

The table's row is the previous token, so every place of every row shares the same parameters: gradients can
be compared however the rows are padded, cut into parts or reordered.
"""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from whet.functional.reduction import loss_weights
from whet.interfaces import Algorithm
from whet.training.terms import loss_terms, reward_with_kl
from whet.types import Batch, TokenStats

VOCABULARY = 7
MAX_COMPLETION_LENGTH = 12


def table(seed: int, scale: float = 1.0) -> Tensor:
    """Logits [V, V] in float64; small scales give policies near each other around the one of seed 0."""
    noise = torch.randn(
        VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return noise * scale


def draw(
    rows: Sequence[str], rewards: Sequence[float], group: Sequence[int], width: int | None = None
) -> Batch:
    """A batch from pictures: `.` is a prompt or observation token, `x` a trained one; the reward is at the last.

    Token ids depend on row and column only, padding included, so a wider batch holds other junk beyond the
    rows.
    """
    width = width or max(map(len, rows))
    lengths = torch.tensor([len(row) for row in rows])
    place = torch.arange(width)
    arrives = (place == lengths[:, None] - 1).double()
    return Batch(
        token_ids=(5 * torch.arange(len(rows))[:, None] + 3 * place + place**2 // 2) % VOCABULARY,
        lengths=lengths,
        loss_mask=torch.tensor([[c == "x" for c in row.ljust(width)] for row in rows]),
        group=torch.tensor(group),
        truncated=torch.zeros(len(rows), dtype=torch.bool),
        rewards=arrives * torch.tensor(rewards, dtype=torch.float64)[:, None],
        sampling_logprobs=torch.zeros(len(rows), width, dtype=torch.float64),
        max_completion_length=MAX_COMPLETION_LENGTH,
    )


def forward(logits: Tensor, batch: Batch) -> TokenStats:
    """What the table says of the tokens of a batch, zero outside the mask."""
    logp = logits.log_softmax(-1)
    previous = batch.token_ids.roll(1, dims=1)
    chosen = logp[previous, batch.token_ids]
    entropy = -(logp.exp() * logp).sum(-1)[previous]
    return TokenStats(
        logprobs=torch.where(batch.loss_mask, chosen, 0.0), entropy=torch.where(batch.loss_mask, entropy, 0.0)
    )


def annotate(algorithm: Algorithm, batch: Batch, old: Tensor | None, ref: Tensor | None = None) -> Batch:
    """The batch with old and reference log-probabilities, advantages and the weights of one update."""
    if old is not None:
        batch = dataclasses.replace(batch, old_logprobs=forward(old, batch).logprobs)
    if ref is not None:
        batch = dataclasses.replace(batch, ref_logprobs=forward(ref, batch).logprobs)
    batch = dataclasses.replace(batch, rewards=reward_with_kl(algorithm, batch))
    weights = loss_weights(
        batch.loss_mask,
        algorithm.reduction,
        num_sequences=len(batch),
        num_tokens=int(batch.loss_mask.sum()),
        max_completion_length=batch.max_completion_length,
        dtype=torch.float64,
    )
    return dataclasses.replace(batch, advantages=algorithm.advantages(batch, {}), loss_weights=weights)


def scalar(algorithm: Algorithm, batch: Batch, stats: TokenStats) -> Tensor:
    """The one sum."""
    return sum(
        ((batch.loss_weights * t).sum() for t in loss_terms(algorithm, batch, stats).values()),
        torch.zeros(()),
    )


def gradient(
    algorithm: Algorithm, batch: Batch, logits: Tensor, parts: Sequence[Sequence[int]] | None = None
) -> Tensor:
    """The gradient [V, V] of an annotated batch, summed over parts of its rows when these are given."""
    leaf = logits.clone().requires_grad_()
    for part in parts or [range(len(batch))]:
        rows = batch.rows(torch.tensor(list(part)))
        scalar(algorithm, rows, forward(leaf, rows)).backward()
    return leaf.grad
