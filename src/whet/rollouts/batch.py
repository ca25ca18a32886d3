"""From groups to tensors, and the ways to cut a batch that leave its gradient alone."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from whet.config import SamplingConfig
from whet.types import Batch, RolloutGroup


def make_batch(groups: Sequence[RolloutGroup], sampling: SamplingConfig, device: torch.device) -> Batch:
    """The rollouts that have a score, group by group. The reward stands at the last sampled token."""
    rows = [(g, r) for g, group in enumerate(groups) for r in group.scored]
    rollouts = [r for _, r in rows]
    lengths = torch.tensor([len(r.token_ids) for r in rollouts], dtype=torch.int64)
    loss_mask = _padded([r.loss_mask for r in rollouts], torch.bool)
    values = torch.tensor([r.score.value for r in rollouts], dtype=torch.float32)
    rewards = torch.zeros(loss_mask.shape).scatter(1, _last(loss_mask)[:, None], values[:, None])
    batch = Batch(
        token_ids=_padded([r.token_ids for r in rollouts], torch.int64),
        lengths=lengths,
        loss_mask=loss_mask,
        group=torch.tensor([g for g, _ in rows], dtype=torch.int64),
        truncated=torch.tensor([r.finish_reason != "stop" for r in rollouts], dtype=torch.bool),
        rewards=rewards,
        sampling_logprobs=_padded([r.sampling_logprobs for r in rollouts], torch.float32),
        temperature=sampling.temperature,
        max_completion_length=sampling.max_completion_length,
    )
    return batch.to(device)


def minibatches(batch: Batch, count: int) -> list[Tensor]:
    """Rows of each minibatch: whole groups, in order, sizes as equal as can be. Empty ones are left out."""
    groups = batch.group.unique(sorted=True)
    parts = (torch.isin(batch.group, part).nonzero()[:, 0] for part in groups.tensor_split(count))
    return [rows for rows in parts if len(rows)]


def microbatches(batch: Batch, max_tokens: int) -> Iterator[Tensor]:
    """Rows of each micro-batch: longest first, so that little is padded, at most `max_tokens` padded tokens each.

    A sequence is never cut: one that is longer than the limit is a micro-batch of its own.
    """
    order = batch.lengths.argsort(descending=True, stable=True)
    lengths = batch.lengths[order].tolist()
    start = 0
    while start < len(lengths):
        size = max(1, max_tokens // lengths[start])
        yield order[start : start + size]
        start += size


def _last(loss_mask: Tensor) -> Tensor:
    """The position of each row's last trained token, `[B]`."""
    positions = torch.arange(loss_mask.shape[1])
    return torch.where(loss_mask, positions, 0).amax(-1)


def _padded(rows: Sequence[Sequence[float]], dtype: torch.dtype) -> Tensor:
    """Rows as `[B, T]`, zeros on the right."""
    width = max((len(row) for row in rows), default=1)
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=dtype).reshape(
        len(rows), width
    )
