"""What is done, and said, when the memory of a GPU has run out."""

from __future__ import annotations

from whet.doctor.machine import size
from whet.errors import TrainingError, first_line
from whet.rollouts.batch import microbatches
from whet.types import Batch


def halved(budget: int, batch: Batch, packs: bool) -> int:
    """The next budget, in tokens of a micro-batch, after memory ran out over these rows.

    Half of their tokens, where these were fewer than the budget. Raises `TrainingError` when every micro-batch was a
    single sequence already, which is never cut.
    """
    if budget == 1 or all(len(rows) == 1 for rows in microbatches(batch, budget, packs)):
        raise TrainingError(
            f"memory ran out over a single sequence, of {int(batch.lengths.max())} tokens or fewer, which is never "
            "cut. Lower sampling.max_completion_length or the prompts, turn on policy.activation_checkpointing, or "
            "train policy.lora; then resume the run: it is saved as it was before this update"
        )
    return max(1, min(budget, int(batch.lengths.sum())) // 2)


def in_optimizer(weights: int, error: Exception) -> TrainingError:
    """The error of an optimizer that memory did not suffice for: of a policy with so many bytes to train."""
    return TrainingError(
        f"memory ran out while moving the policy ({first_line(error)}): the moments of AdamW take "
        f"{size(2 * weights)}. Train policy.lora, or lower engine.max_rows or set engine.cache_mb; then resume the run"
    )
