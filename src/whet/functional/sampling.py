"""Draws tokens from logits by inverse CDF: one uniform number per row, so a row's draw depends on its key alone."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from whet.functional import logits_gpu, sampling_in_c
from whet.types import SamplingParams

_FEW = 16384
"""Weights that are searched in one level."""
_BLOCK = 128
"""Weights of a block, of which a large vocabulary has a whole number."""


def sample(logits: Tensor, uniform: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """Tokens `[n]` and their log-probabilities `[n]` from logits `[n, V]` and numbers in [0, 1) `[n]`.

    The log-probability is that of the distribution really drawn from: tempered, and renormalised over what top-k, top-p
    and min-p leave. At temperature 0 it is the token of the largest logit, with its untempered log-probability.
    """
    if params.temperature > 0 and params.is_full_distribution:
        if logits_gpu.is_possible(logits, logits):
            return logits_gpu.draw(logits, uniform, params.temperature)
        if sampling_in_c.is_possible(logits):
            return sampling_in_c.draw(logits, uniform, params.temperature)
    is_whole = params.temperature == 1 and params.is_full_distribution
    if logits.element_size() > 2 or not is_whole:
        logits = logits.float()  # else 16 bits are widened where they are read, which saves a copy
    if params.temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(-1)
    if params.temperature != 1:
        logits = logits / params.temperature
    logits = _truncated(logits, params)
    largest = logits.amax(-1, keepdim=True).float()
    weights = (logits - largest).exp_()
    tokens = inverse_cdf(weights, uniform)
    return tokens, (logits.gather(-1, tokens[:, None]) - largest)[:, 0] - weights.sum(-1).log()


def inverse_cdf(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first index whose cumulative weight exceeds `uniform * total`; weights `[n, V]` >= 0, at least one > 0.

    An index of weight zero is never drawn: the target stays below the total whatever the rounding, and the comparison
    is strict. A large vocabulary is searched in two levels: the sums of blocks, then one block. A running sum over all
    of it would be the longest part of a decode step on a GPU.
    """
    if weights.shape[-1] <= _FEW or weights.shape[-1] % _BLOCK:
        cdf = weights.cumsum(-1)
        return _first_above(cdf, uniform * cdf[:, -1])
    blocks = weights.unflatten(-1, (-1, _BLOCK))
    cdf = blocks.sum(-1).cumsum(-1)
    target = uniform * cdf[:, -1]
    block = _first_above(cdf, target)
    inside = blocks[torch.arange(len(block), device=block.device), block].cumsum(-1)
    before = pad(cdf, (1, 0)).gather(-1, block[:, None])[:, 0]
    return block * _BLOCK + _first_above(inside, target - before)


def _first_above(cdf: Tensor, target: Tensor) -> Tensor:
    """The first index whose cumulative weight exceeds the target, which is held below the total."""
    total = cdf[:, -1]
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cdf, target[:, None], right=True)[:, 0].clamp_(max=cdf.shape[-1] - 1)


def _truncated(logits: Tensor, params: SamplingParams) -> Tensor:
    """Logits with -inf outside what top-k, top-p (Holtzman et al. 1904.09751) and min-p (2407.01082) keep.

    One after the other, as in transformers and vLLM: top-p is a share of what top-k left.
    """
    if params.is_full_distribution:
        return logits
    ordered, order = logits.sort(-1, descending=True)
    if params.top_k:
        ordered[:, params.top_k :] = -torch.inf
    probs = ordered.softmax(-1)
    keep = probs.cumsum(-1) - probs < params.top_p  # the token that crosses the threshold stays
    keep &= (probs > 0) & (probs >= params.min_p * probs[:, :1])
    return logits.masked_fill(~torch.zeros_like(keep).scatter(-1, order, keep), -torch.inf)
