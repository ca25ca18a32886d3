"""Tokens drawn from float32 logits on a CPU in one call, `sampling.c`, in place of a dozen small ones of torch."""

from __future__ import annotations

import ctypes
import functools

import torch
from torch import Tensor

from whet.compiled import SMALL, declared, parts

_BLOCK = 128
"""Weights of a block; the source says the same."""


def is_possible(logits: Tensor) -> bool:
    """Whether there is code in C for these logits."""
    return logits.device.type == "cpu" and logits.dtype == torch.float32 and _library() is not None


def draw(logits: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Tokens and log-probabilities as `sampling.sample` has them, of all the vocabulary at a temperature above 0.

    Logits that are no distribution, with a NaN, inf or nothing finite, give token 0 and a log-probability of NaN.
    """
    library, (rows, size) = _library(), logits.shape
    assert library is not None
    logits, uniform = logits.contiguous(), uniform.float().contiguous()
    tokens, logprobs = torch.empty(rows, dtype=torch.int64), torch.empty_like(uniform)
    blocks = torch.empty(parts(logits.numel(), SMALL), size // _BLOCK + 1, dtype=torch.float64)
    tensors = (t.data_ptr() for t in (logits, uniform, tokens, logprobs))
    library.draw(*tensors, rows, size, temperature, blocks.data_ptr(), blocks.shape[1], len(blocks))
    return tokens, logprobs


@functools.cache
def _library() -> ctypes.CDLL | None:
    return declared("sampling.c", draw="ppppnnfpnn")
