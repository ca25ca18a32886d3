"""How many tokens a micro-batch may have: what fits into memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from whet.config import MOST_TOKENS, Config
from whet.doctor.machine import memory_bytes
from whet.interfaces import Policy, Want
from whet.training.footprint import MASTER_BYTES
from whet.training.forecast import Sizes, forecast
from whet.types import Batch

FILLED = 0.85
"""Share of the free memory that is planned for; allocators leave gaps."""
STEP = 1024
MOST_ON_GPU = 2**20


def most_tokens(bytes_at: Callable[[int], float], room: float, longest: int, most: int) -> int:
    """The largest multiple of 1024 up to `most` that takes no more bytes than there is room for.

    One sequence is never cut: the answer is at least `longest`.
    """
    fitting = (tokens for tokens in range(most // STEP * STEP, 0, -STEP) if bytes_at(tokens) <= room)
    return max(longest, next(fitting, 0))


def line_through(measure: Callable[[int], int], low: int, high: int) -> Callable[[int], float]:
    """Bytes at any count of tokens, from what two counts took: a part that is there anyway, and one per token."""
    first, second = measure(low), measure(high)
    per_token = max(0.0, (second - first) / (high - low))
    return lambda tokens: first + per_token * (tokens - low)


def cpu_budget(config: Config, sizes: Sizes) -> int:
    """By the forecast, held against the memory that is free; the weights are there already."""

    def bytes_at(tokens: int) -> int:
        batch = config.batch.model_copy(update={"microbatch_tokens": tokens})
        return int(forecast(config.model_copy(update={"batch": batch}), sizes)["memory_bytes"]["total"])

    room = FILLED * memory_bytes()[0] + sizes.policy.weight_bytes
    return most_tokens(bytes_at, room, _longest(config, sizes), MOST_TOKENS)


def gpu_budget(config: Config, sizes: Sizes, policy: Policy) -> int:
    """By passes over a few of the longest rows, over twice as many, and over a third of what those two promise.

    Small passes promise too little, as an allocator rounds what they ask for; a third of a plan is large enough to tell
    what a token takes, and small enough to fit. What the run will hold beside a pass is left free.
    """
    row, prompt, length = _longest(config, sizes), sizes.longest_prompt, config.sampling.max_completion_length
    own, shared = (max(1, length - 1), prompt) if policy.packs else (row, 0)
    want: frozenset[Want] = frozenset({"entropy_gradient"} if config.algorithm.entropy_coef else ())

    def measure(tokens: int) -> int:
        rows = (tokens - shared) // own
        return _peak(policy, dummy_batch(rows, prompt, length, _device(policy)), want)

    few = -(-STEP // length)
    low, high = (shared + rows * own for rows in (few, 2 * few))
    fitting = row
    try:
        measure(low)  # what libraries take at their first call is no part of the slope
        bytes_at = line_through(measure, low, high)
        fitting = max(row, high)
        torch.cuda.empty_cache()
        room = FILLED * torch.cuda.mem_get_info(_device(policy))[0] - _taken_later(config, sizes)
        third = most_tokens(bytes_at, room, row, MOST_ON_GPU) // 3
        if third > high:
            bytes_at = line_through(measure, low, third - (third - shared) % own)
    except torch.OutOfMemoryError:
        return fitting  # and the first update says what to lower, if even that is too much
    finally:
        torch.cuda.empty_cache()
    return most_tokens(bytes_at, room, row, MOST_ON_GPU)


def dummy_batch(rows: int, prompt: int, completion: int, device: torch.device) -> Batch:
    """Rows of one group, all as long as can be, every token of the completions trained."""
    shape = (rows, prompt + completion)
    zeros = torch.zeros(shape)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[:, prompt:] = True
    ids = torch.zeros(shape, dtype=torch.int64)
    return Batch(
        token_ids=ids,
        lengths=torch.full((rows,), shape[1]),
        loss_mask=mask,
        group=ids[:, 0],
        truncated=mask[:, 0],
        rewards=zeros,
        sampling_logprobs=zeros,
        temperature=1.0,
        max_completion_length=completion,
    ).to(device)


def pass_over(policy: Policy, batch: Batch, want: frozenset[Want]) -> None:
    """One forward and backward pass whose gradients are dropped: nothing of the policy has changed afterwards."""
    try:
        stats = policy.forward(batch, want)
        (stats.logprobs.sum() + (stats.entropy.sum() if want else 0.0)).backward()
    finally:  # also those of a pass that ran out of memory
        for parameter in policy.module.parameters():
            parameter.grad = None


def _peak(policy: Policy, batch: Batch, want: frozenset[Want]) -> int:
    """Bytes that one pass takes at most, beside what is there."""
    device = batch.lengths.device
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    pass_over(policy, batch, want)
    return int(torch.cuda.max_memory_allocated(device) - before)


def _taken_later(config: Config, sizes: Sizes) -> int:
    """Of optimizer, reference and engine; the gradients of 16-bit parameters are gathered in their masters' too."""
    parts = forecast(config, sizes)["memory_bytes"]
    copy = parts["weights"] - sizes.policy.weight_bytes  # an engine's own, not made yet
    later = copy + parts["optimizer"] + parts["reference"] + parts["kv_cache"]
    return int(later + sizes.policy.masters * MASTER_BYTES)


def _longest(config: Config, sizes: Sizes) -> int:
    return sizes.longest_prompt + config.sampling.max_completion_length


def _device(policy: Policy) -> torch.device:
    return next(policy.module.parameters()).device
