"""Draws tokens from logits by inverse CDF: one uniform number per row, so a row's draw depends on its key alone."""

import torch
from torch import Tensor

from whet.types import SamplingParams


def sample(logits: Tensor, uniform: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """Tokens `[n]` and their log-probabilities `[n]` from logits `[n, V]` and numbers in [0, 1) `[n]`.

    The log-probability is that of the distribution really drawn from: tempered, and renormalised over what top-k, top-p
    and min-p leave. At temperature 0 it is the token of the largest logit, with its untempered log-probability.
    """
    logits = logits.float()
    if params.temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(-1)
    if params.temperature != 1:
        logits = logits / params.temperature
    logits = _truncated(logits, params)
    shifted = logits - logits.amax(-1, keepdim=True)
    weights = shifted.exp()
    tokens = inverse_cdf(weights, uniform)
    return tokens, shifted.gather(-1, tokens[:, None])[:, 0] - weights.sum(-1).log()


def inverse_cdf(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first index whose cumulative weight exceeds `uniform * total`; weights `[n, V]` >= 0, at least one > 0.

    An index of weight zero is never drawn: the target stays below the total whatever the rounding, and the comparison
    is strict.
    """
    cdf = weights.cumsum(-1)
    total = cdf[:, -1]
    target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cdf, target[:, None], right=True)[:, 0].clamp_(max=weights.shape[-1] - 1)


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
