"""From hidden states to what a policy says of each token, without the logits of all tokens at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from whet.functional.logits_gpu import KernelStats, is_possible
from whet.types import Batch, TokenStats

MAX_LOGITS = 2**25
"""Logits held at once, 128 MiB in float32, where there are more than one row of them."""

ON_GPU = 4
"""So many times more on a GPU, where a product of few rows takes as long as one of many."""

CACHED_LOGITS = 2**22
MIN_ROWS = 256

Head = Tensor | Callable[[Tensor], Tensor]
"""The matrix `[V, D]` that makes logits of states, or a function `[M, D]` -> `[M, V]`."""


def token_stats(states: Tensor, head: Head, batch: Batch, entropy_gradient: bool) -> TokenStats:
    """Log-probabilities and entropies of the trained tokens, `[B, T]`, zero elsewhere; float32 at least.

    states: `[M, D]`, of the token before each trained one, in the order of `loss_mask`. The distribution is
    softmax(logits / batch.temperature), the one sampled from. The entropy, in nats, carries a gradient only when
    asked for.

    Logits exist for some rows at a time, and are computed again in the backward pass where they do not all fit into
    `MAX_LOGITS`: what they take does not grow with the batch.
    """
    targets = batch.token_ids[batch.loss_mask]  # [M]
    logprobs, entropy = _stats(states, targets, head, batch.temperature)
    if not entropy_gradient:
        entropy = entropy.detach()
    return TokenStats(logprobs=_spread(logprobs, batch.loss_mask), entropy=_spread(entropy, batch.loss_mask))


def _stats(states: Tensor, targets: Tensor, head: Head, temperature: float) -> tuple[Tensor, Tensor]:
    if isinstance(head, Tensor):
        function = KernelStats if is_possible(states, head) else MatrixStats
        found: tuple[Tensor, Tensor] = function.apply(states, head, targets, temperature)
        return found
    with torch.no_grad():
        rows = max(1, _most(states) // head(states[:1]).shape[-1])
    call = _again if len(states) > rows and torch.is_grad_enabled() else _once
    pairs = zip(states.split(rows), targets.split(rows), strict=True)
    parts = [call(_of_logits, some, theirs, head, temperature) for some, theirs in pairs]
    logprobs, entropy = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return logprobs, entropy


class MatrixStats(torch.autograd.Function):
    """states `[M, D]`, weight `[V, D]`, targets `[M]`, temperature -> log-probabilities and entropies, `[M]` each.

    With z = W s / temperature, p = softmax(z) and H = -sum p log p, d log p_t / dz = onehot(t) - p and
    dH / dz = -p (log p + H). Kept are states and H, and p where all of it fits into `MAX_LOGITS`.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        keeps = any(ctx.needs_input_grad) and len(states) * len(weight) <= _most(states)
        kept, found = [], []
        for at in _parts(states, len(weight)):
            logits = _wide(states[at] @ weight.T, temperature)
            p = logits.softmax(-1)
            found.append(_read(logits, p, targets[at]))
            kept += [p] if keeps else []
        logprobs, entropy = (torch.cat(columns) for columns in zip(*found, strict=True))
        ctx.save_for_backward(states, weight, targets, entropy, *kept)
        ctx.temperature = temperature
        ctx.set_materialize_grads(False)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        states, weight, targets, entropy, *kept = ctx.saved_tensors
        needs_states, needs_weight = ctx.needs_input_grad[:2]
        to_states = torch.empty_like(states) if needs_states else None
        # A sum of many parts: 16 bits would lose the later ones in it.
        to_weight = torch.zeros_like(weight, dtype=_wide_type(weight)) if needs_weight else None
        for i, at in enumerate(_parts(states, len(weight))):
            p = kept[i] if kept else _wide(states[at] @ weight.T, ctx.temperature).softmax(-1)
            mine = [None if g is None else g[at] / ctx.temperature for g in grads]
            change = _change(p, targets[at], entropy[at], mine[0], mine[1]).to(weight.dtype)
            if to_states is not None:
                torch.mm(change, weight, out=to_states[at])
            if to_weight is not None and to_weight.dtype == weight.dtype:
                to_weight.addmm_(change.T, states[at])
            elif to_weight is not None:
                to_weight += change.T @ states[at]
        return to_states, None if to_weight is None else to_weight.to(weight.dtype), None, None


def _parts(states: Tensor, vocab_size: int) -> list[slice]:
    """Rows of states whose logits are held at once: few enough for a processor's cache, enough to multiply well."""
    most = max(1, _most(states) // vocab_size)
    rows = most if states.is_cuda else min(most, max(MIN_ROWS, CACHED_LOGITS // vocab_size))
    return [slice(start, start + rows) for start in range(0, max(1, len(states)), rows)]


def _most(states: Tensor) -> int:
    """Logits that may be held at once."""
    return MAX_LOGITS * ON_GPU if states.is_cuda else MAX_LOGITS


def _change(
    p: Tensor, targets: Tensor, entropy: Tensor, logprob_grad: Tensor | None, entropy_grad: Tensor | None
) -> Tensor:
    """The gradient of the logits, `[m, V]`, of those of log-probabilities and entropies, `[m]` each."""
    factor = torch.zeros_like(entropy)
    if logprob_grad is not None:
        factor = factor - logprob_grad
    if entropy_grad is not None:
        factor = factor - entropy_grad * entropy
    change = p * factor[:, None]
    if entropy_grad is not None:
        change -= torch.xlogy(p, p) * entropy_grad[:, None]
    if logprob_grad is not None:
        change.scatter_add_(1, targets[:, None], logprob_grad[:, None].to(change.dtype))
    return change


def _wide(logits: Tensor, temperature: float) -> Tensor:
    logits = logits.to(_wide_type(logits))
    return logits if temperature == 1.0 else logits / temperature


def _wide_type(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _read(logits: Tensor, p: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each target, and entropy log sum exp(z) - sum p z in nats, of logits and their softmax."""
    normaliser = logits.amax(-1) - p.amax(-1).log()  # log sum exp(z); the largest p is no less than 1 / V
    mean = torch.linalg.vecdot(p, logits)
    return logits.gather(1, targets[:, None])[:, 0] - normaliser, normaliser - mean


def _of_logits(states: Tensor, targets: Tensor, head: Callable[[Tensor], Tensor], temperature: float) -> Any:
    logits = _wide(head(states), temperature)
    return _read(logits, logits.softmax(-1), targets)


def _once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _again(function: Callable[..., Any], *arguments: Any) -> Any:
    """Keeps the arguments alone; what the backward pass needs is computed again there."""
    return checkpoint(function, *arguments, use_reentrant=False)


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    """Values `[M]` put back at the true positions of the mask `[B, T]`."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)
