"""What is done, and said, when the memory of a GPU has run out."""

from __future__ import annotations

from torch import Tensor

from whet.config import SamplingConfig
from whet.errors import TrainingError


def halved(budget: int, lengths: Tensor) -> int:
    """The next budget after memory ran out over sequences of these lengths `[B]`.

    Half of what was really read, where that was less than the budget. Raises `TrainingError` when the budget was no
    more than the longest sequence, which is never cut.
    """
    longest = int(lengths.max())
    if budget <= longest:
        raise TrainingError(
            f"memory ran out over a single sequence of {longest} tokens, which is never cut. Lower "
            "sampling.max_completion_length or the prompts, turn on policy.activation_checkpointing, or train "
            "policy.lora; then resume the run: it is saved as it was before this update"
        )
    return max(longest, min(budget, int(lengths.sum())) // 2)


def in_sampling(sampling: SamplingConfig, reason: str) -> TrainingError:
    """The error of an engine that memory did not suffice for."""
    return TrainingError(
        f"memory ran out while sampling ({reason}). Lower engine.max_rows (completions in flight) or set "
        "engine.cache_mb (their keys and values), or shorten sampling.max_completion_length "
        f"({sampling.max_completion_length}) or sampling.max_prompt_length ({sampling.max_prompt_length}); then resume "
        "the run"
    )
