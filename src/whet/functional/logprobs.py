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
"""Logits held at once on a CPU where that is enough rows: what its caches hold."""
MIN_ROWS = 256
"""Rows of a product that multiplies well."""

Head = Tensor | Callable[[Tensor], Tensor]
"""The matrix `[V, D]` that makes logits of states, or a function `[M, D]` -> `[M, V]`."""


def rows_at_once(device: torch.device, vocab_size: int) -> int:
    """How many rows of logits may be held at once; at least one."""
    return max(1, MAX_LOGITS * (ON_GPU if device.type == "cuda" else 1) // vocab_size)


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
        if not torch.is_grad_enabled():
            head = head.detach()  # else a function takes it that there will be a backward pass
        found: tuple[Tensor, Tensor] = function.apply(states, head, targets, temperature)
        return found
    with torch.no_grad():
        rows = rows_at_once(states.device, head(states[:1]).shape[-1])
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
        keeps = any(ctx.needs_input_grad) and len(states) <= rows_at_once(states.device, len(weight))
        room, kept, found = _Room(states, weight, temperature), [], []
        for at in room.parts:
            logits = room.logits(at)
            p = logits.softmax(-1) if keeps else room.softmax(logits)
            found.append(_read(logits, p, targets[at], out=logits))
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
        room = _Room(states, weight, ctx.temperature)
        for i, at in enumerate(room.parts):
            p = kept[i] if kept else room.softmax(room.logits(at))
            mine = [None if g is None else g[at] / ctx.temperature for g in grads]
            out = torch.empty_like(p) if kept else p
            change = _change(p, targets[at], entropy[at], mine[0], mine[1], out).to(weight.dtype)
            if to_states is not None:
                torch.mm(change, weight, out=to_states[at])
            if to_weight is not None and to_weight.dtype == weight.dtype:
                to_weight.addmm_(change.T, states[at])
            elif to_weight is not None:
                to_weight += change.T @ states[at]
        return to_states, None if to_weight is None else to_weight.to(weight.dtype), None, None


class _Room:
    """Memory for the logits of some states at a time, and for their softmax, used again by the next ones."""

    def __init__(self, states: Tensor, weight: Tensor, temperature: float) -> None:
        self._states, self._weight, self._temperature = states, weight, temperature
        self.parts = _parts(states, len(weight))
        self._rows = min(len(states), self.parts[0].stop)
        self._made: dict[str, Tensor] = {}

    def logits(self, at: slice) -> Tensor:
        """Of some of the states, divided by the temperature; float32 at least."""
        some = self._states[at]
        found = self._of("logits", len(some))
        if found.dtype == self._weight.dtype:
            torch.mm(some, self._weight.T, out=found)
        else:
            found.copy_(some @ self._weight.T)
        return found if self._temperature == 1.0 else found.div_(self._temperature)

    def softmax(self, logits: Tensor) -> Tensor:
        """Of logits."""
        return torch.softmax(logits, -1, out=self._of("softmax", len(logits)))

    def _of(self, name: str, rows: int) -> Tensor:
        if name not in self._made:
            shape, dtype = (self._rows, len(self._weight)), _wide_type(self._weight)
            self._made[name] = self._states.new_empty(shape, dtype=dtype)
        return self._made[name][:rows]


def _parts(states: Tensor, vocab_size: int) -> list[slice]:
    """Rows of states whose logits are held at once: few enough for a processor's cache, enough to multiply well."""
    most = rows_at_once(states.device, vocab_size)
    rows = most if states.is_cuda else min(most, max(MIN_ROWS, CACHED_LOGITS // vocab_size))
    return [slice(start, start + rows) for start in range(0, max(1, len(states)), rows)]


def _change(
    p: Tensor,
    targets: Tensor,
    entropy: Tensor,
    logprob_grad: Tensor | None,
    entropy_grad: Tensor | None,
    out: Tensor,
) -> Tensor:
    """The gradient of the logits, `[m, V]`, of those of log-probabilities and entropies, `[m]` each; `out` may be p."""
    factor = torch.zeros_like(entropy)
    if logprob_grad is not None:
        factor = factor - logprob_grad
    pull = None
    if entropy_grad is not None:
        factor = factor - entropy_grad * entropy
        pull = torch.xlogy(p, p).mul_(entropy_grad[:, None])
    change = torch.mul(p, factor[:, None], out=out)
    if pull is not None:
        change -= pull
    if logprob_grad is not None:
        change.scatter_add_(1, targets[:, None], logprob_grad[:, None].to(change.dtype))
    return change


def _wide(logits: Tensor, temperature: float) -> Tensor:
    logits = logits.to(_wide_type(logits))
    return logits if temperature == 1.0 else logits / temperature


def _wide_type(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _read(logits: Tensor, p: Tensor, targets: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Log-probability of each target, and entropy log sum exp(z) - sum p z in nats, of logits and their softmax.

    out: memory for the products p z, which may be that of the logits.
    """
    normaliser = logits.amax(-1) - p.amax(-1).log()  # log sum exp(z); the largest p is no less than 1 / V
    logprobs = logits.gather(1, targets[:, None])[:, 0] - normaliser
    return logprobs, normaliser - torch.mul(p, logits, out=out).sum(-1)


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
