"""The weights that turn per-token losses into one scalar.

The loss of an update is `(loss_weights * per_token_loss).sum()`. The weights carry the denominator of the
whole update (all its micro-batches, all processes), so cutting the update into parts changes nothing: the
parts add up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from whet.functional.masking import row_lengths

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from whet.interfaces import Reduction


def loss_weights(
    loss_mask: Bool[Tensor, "B T"],
    reduction: Reduction,
    num_sequences: int,
    num_tokens: int,
    max_completion_length: int,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "B T"]:
    """The weight of each token in the loss of its update; 0 outside the mask.

        sequence_mean   1 / (N * len_i)                     every sequence counts the same (GRPO)
        token_mean      1 / num_tokens                      every token counts the same (DAPO)
        constant        1 / (N * max_completion_length)     no length in the denominator at all (Dr. GRPO)

    loss_mask: any rows of the update. num_sequences: N, the sequences of the whole update; a row without a
    trained token is one of them. num_tokens: the trained tokens of the whole update. Padding and the other
    rows play no part.
    """
    if reduction == "sequence_mean":
        denominator = num_sequences * row_lengths(loss_mask).clamp(min=1)[:, None]
    else:
        count = num_tokens if reduction == "token_mean" else num_sequences * max_completion_length
        denominator = torch.tensor(max(count, 1), device=loss_mask.device)
    return torch.where(loss_mask, 1.0 / denominator.to(dtype), 0.0)
