"""From 16-bit logits on a GPU to log-probabilities, entropies and draws, in one pass; one more gives a gradient.

torch widens logits, makes their softmax, and reads both again: at a vocabulary of 150,000 that is a third of an update,
and a good part of a decode step.
Where the kernels do not run, or do not say what torch says, torch does the work.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import torch
from torch import Tensor

_log = logging.getLogger(__name__)
_GAP = 0.02
"""How far results may lie from those of float32, relative to their norm; bf16 has 8 bits."""
_HELD = 2**28
"""Logits held at once, 512 MiB in 16 bits."""
_DRAWN_GAP = 1e-3
"""How far from its token's share of [0, 1) a uniform number may lie, and a log-probability from that of float64."""
_CHUNK, _BLOCK = 4096, 128
"""Logits that are weighed together, and of which one sum is kept."""


class KernelStats(torch.autograd.Function):
    """states `[M, D]`, weight `[V, D]`, targets `[M]`, temperature -> log-probabilities and entropies, `[M]` each.

    Nothing of the size of the logits is kept: the backward pass computes them again.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        found = states.new_empty(3, len(states), dtype=torch.float32)
        for at in _parts(states, weight):
            _read(states[at] @ weight.T, targets[at], found[:, at].unbind(), temperature)
        logprobs, entropy, normalisers = found.unbind()
        ctx.save_for_backward(states, weight, targets, entropy, normalisers)
        ctx.temperature = temperature
        ctx.set_materialize_grads(False)
        return logprobs.clone(), entropy.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        states, weight, targets, entropy, normalisers = ctx.saved_tensors
        needs_states, needs_weight = ctx.needs_input_grad[:2]
        mine = [torch.zeros_like(entropy) if g is None else g.float().contiguous() for g in grads]
        to_states = torch.empty_like(states) if needs_states else None
        # A sum of many parts: 16 bits would lose the later ones in it.
        to_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        for at in _parts(states, weight):
            change = states[at] @ weight.T
            _change(change, targets[at], [x[at] for x in (normalisers, entropy, *mine)], ctx.temperature)
            if to_states is not None:
                torch.mm(change, weight, out=to_states[at])
            if to_weight is not None:
                to_weight += change.T @ states[at]
        return to_states, None if to_weight is None else to_weight.to(weight.dtype), None, None


def draw(logits: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Tokens `[n]` and their log-probabilities, from logits `[n, V]` and numbers in [0, 1): `sampling.sample`."""
    logits, (count, vocab_size) = logits.contiguous(), logits.shape
    chunks, per = -(-vocab_size // _CHUNK), _CHUNK // _BLOCK
    largest = uniform.new_empty(count, chunks, dtype=torch.float32)
    sums = uniform.new_empty(count, chunks * per, dtype=torch.float32)
    tokens, logprobs = torch.empty_like(uniform, dtype=torch.int64), torch.empty_like(uniform)
    sizes = 1 / temperature, vocab_size, chunks
    with torch.cuda.device_of(logits):
        _kernels().weigh[count, chunks](logits, largest, sums, *sizes, CHUNK=_CHUNK, BLOCK=_BLOCK)
        _kernels().draw[count,](
            logits, largest, sums, uniform.contiguous(), tokens, logprobs, *sizes,
            PER=per, PAD=1 << (chunks * per - 1).bit_length(), BLOCK=_BLOCK,
        )  # fmt: skip
    return tokens, logprobs


def is_possible(x: Tensor, y: Tensor) -> bool:
    """Whether there are kernels: for 16 bits on a GPU where they say what torch says."""
    is_narrow = x.dtype == y.dtype and x.dtype in (torch.bfloat16, torch.float16)
    return x.is_cuda and is_narrow and len(x) > 0 and is_proven(x.device, x.dtype)


@functools.cache
def is_proven(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels run on a device, and say of a few random numbers what torch says."""
    try:
        gap, of_draws = gap_to_torch(device, dtype), gap_of_draws(device, dtype)
    except Exception as error:  # noqa: BLE001  a compiler of its own has many ways to fail
        _log.info("logits are read by torch: kernels do not run here (%s)", str(error).partition("\n")[0])
        return False
    if not (gap <= _GAP and of_draws <= _DRAWN_GAP):
        _log.info("logits are read by torch: kernels are off by %.1e and %.1e here", gap, of_draws)
        return False
    return True


@torch.inference_mode(False)
@torch.enable_grad()
def gap_to_torch(device: torch.device, dtype: torch.dtype, temperature: float = 0.7) -> float:
    """The largest relative distance of what is said, and of its gradients, from torch in float32."""
    noise = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=noise).to(device, dtype)

    targets = torch.arange(7, device=device) * 700
    mine = [random(7, 32).requires_grad_(), random(5000, 32).requires_grad_()]
    theirs = [x.detach().float().requires_grad_() for x in mine]
    to_both = [random(7).float(), random(7).float()]
    found = KernelStats.apply(*mine, targets, temperature)
    # In torch the products are rounded as those of the kernels are.
    logits = (theirs[0] @ theirs[1].T).to(dtype).float() / temperature
    all_of_them = logits.log_softmax(-1)
    chosen = all_of_them.gather(1, targets[:, None])[:, 0]
    expected = chosen, -(all_of_them.exp() * all_of_them).sum(-1)
    pairs = zip(
        [*found, *torch.autograd.grad(found, mine, to_both)],
        [*expected, *torch.autograd.grad(expected, theirs, to_both)],
        strict=True,
    )
    return max(float((x.detach().float() - y.detach()).norm() / y.detach().norm()) for x, y in pairs)


def gap_of_draws(device: torch.device, dtype: torch.dtype, temperature: float = 0.7) -> float:
    """The larger of `_DRAWN_GAP`'s two, over a few rows of which some logits are -inf."""
    noise = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(16, 9001, generator=noise)).to(dtype)
    logits[:, 100:5000] = -torch.inf
    uniform = torch.rand(16, generator=noise)
    tokens, logprobs = (x.cpu() for x in draw(logits.to(device), uniform.to(device), temperature))
    all_of_them = (logits.double() / temperature).log_softmax(-1)
    expected = all_of_them.gather(1, tokens[:, None])[:, 0]
    end = all_of_them.exp().cumsum(-1).gather(1, tokens[:, None])[:, 0]
    outside = torch.maximum(end - expected.exp() - uniform, uniform - end)
    return float(torch.maximum(outside, (logprobs - expected).abs()).max())


def _read(logits: Tensor, targets: Tensor, out: tuple[Tensor, ...], temperature: float) -> None:
    """Fills in log-probabilities, entropies and normalisers `[m]` of logits `[m, V]`."""
    with torch.cuda.device_of(logits):
        _kernels().read[len(logits),](
            logits, targets, *out, 1 / temperature, logits.shape[1], BLOCK=4096, num_warps=8
        )


def _change(logits: Tensor, targets: Tensor, rows: list[Tensor], temperature: float) -> None:
    """Overwrites logits by their gradient. rows: normaliser, entropy, and the gradients of both results, `[m]`."""
    block = 4096
    grid = len(logits), -(-logits.shape[1] // block)
    with torch.cuda.device_of(logits):
        _kernels().change[grid](
            logits, targets, *rows, 1 / temperature, logits.shape[1], BLOCK=block, num_warps=8
        )


def _parts(states: Tensor, weight: Tensor) -> list[slice]:
    rows = max(1, _HELD // len(weight))
    return [slice(start, start + rows) for start in range(0, len(states), rows)]


@functools.cache
def _kernels() -> Any:
    """Raises where triton is not installed."""
    from whet.functional import logit_kernels

    return logit_kernels
