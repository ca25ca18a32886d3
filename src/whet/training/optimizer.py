"""AdamW on named parameters, its learning-rate schedule, and its state by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from whet.config import OptimizerConfig
from whet.errors import RunError
from whet.training.out_of_memory import in_optimizer

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def learning_rate(step: int, config: OptimizerConfig, default_steps: int) -> float:
    """The rate of a step, counted from 1: linear warm-up, then constant, or down by a line or a cosine.

    With W warm-up steps and S schedule steps the decay passes p = (step - W - 1) / (S - W), from 0 at the first
    step after the warm-up. Beyond step S the rate of step S holds. A function of the step alone: nothing to save.
    """
    warmup = config.warmup_steps
    if step <= warmup:
        return config.learning_rate * step / warmup
    if config.schedule == "constant":
        return config.learning_rate
    end = config.schedule_steps or default_steps
    progress = (min(step, end) - warmup - 1) / max(end - warmup, 1)
    progress = max(progress, 0.0)
    factor = 1.0 - progress if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return config.learning_rate * factor


class Optimizer:
    """AdamW (Loshchilov and Hutter, 1711.05101). Matrices decay; biases and gains of norms do not.

    A parameter of 16 bits has a float32 master, which gathers its gradients, is moved, and is written down into it: at
    a rate of 1e-6 most steps of a bf16 number would be lost in its rounding. Other parameters are their own masters.
    """

    def __init__(self, module: nn.Module, config: OptimizerConfig) -> None:
        self._trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._named = {name: _master(p) for name, p in self._trained.items()}
        self._pairs = [(p, self._named[n]) for n, p in self._trained.items() if self._named[n] is not p]
        matrices = [p for p in self._named.values() if p.dim() > 1]
        vectors = [p for p in self._named.values() if p.dim() <= 1]
        self._max_grad_norm = config.max_grad_norm
        self._adamw = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=config.betas,
            eps=config.eps,
            fused=True,
        )

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained: the module's own."""
        return list(self._trained.values())

    @property
    def masters(self) -> list[nn.Parameter]:
        """What is moved, and where gradients are gathered: float32, the parameters themselves where they are that."""
        return list(self._named.values())

    def gather(self) -> None:
        """Adds the gradient of a micro-batch to that of the masters, in float32."""
        for parameter, master in self._pairs:
            if parameter.grad is not None:
                found, held = parameter.grad, master.grad
                master.grad = found.float() if held is None else held.add_(found)
                parameter.grad = None

    def clip(self) -> float:
        """Scales the gradient down to `max_grad_norm` and returns the norm it had."""
        return float(nn.utils.clip_grad_norm_(self.masters, self._max_grad_norm))

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Moves the parameters along the gradient.

        The moments are made at the first step; raises `TrainingError` where the memory of a GPU does not hold them.
        """
        for group in self._adamw.param_groups:
            group["lr"] = rate
        is_first = not any(self._adamw.state.values())
        if is_first:
            for parameter, master in self._pairs:
                master.copy_(parameter)  # an earlier stage, or a checkpoint, may have moved it since
        try:
            self._adamw.step()
        except torch.OutOfMemoryError as error:
            if is_first:
                self._adamw.state.clear()  # those that were made before: a checkpoint holds all of them or none
            raise in_optimizer(sum(p.nbytes for p in self.masters), error) from None
        if self._pairs:
            parameters, masters = zip(*self._pairs, strict=True)
            torch._foreach_copy_(parameters, masters)  # a few kernels, not one for each

    def forget_gradient(self) -> None:
        """Drops the gradient, also what was not gathered yet."""
        self._adamw.zero_grad(set_to_none=True)
        for parameter, _ in self._pairs:
            parameter.grad = None

    def state_tensors(self) -> dict[str, Tensor]:
        """The moments of every parameter as `<parameter>.<moment>`, and its master; empty before the first step."""
        found = {
            f"{name}.{moment}": self._adamw.state[master][moment]
            for name, master in self._named.items()
            for moment in _MOMENTS
            if moment in self._adamw.state[master]
        }
        return {**found, **self._master_tensors()} if found else {}

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes moments and masters back by name; raises `RunError` when they are not those of this model."""
        masters = self._master_tensors()
        expected = {f"{name}.{moment}" for name in self._named for moment in _MOMENTS} | masters.keys()
        if tensors and set(tensors) != expected:
            odd = sorted(set(tensors) ^ expected)[:3]
            raise RunError(
                f"the optimizer state belongs to another model: {', '.join(odd)} and others do not match"
            )
        if not tensors:
            return
        for name, master in masters.items():
            master.copy_(tensors[name])
        for name, parameter in self._named.items():
            for moment in _MOMENTS:
                # The step count too: the fused kernel reads it where the parameter is.
                value = tensors[f"{name}.{moment}"].to(parameter.device, copy=True)
                self._adamw.state[parameter][moment] = value

    def _master_tensors(self) -> dict[str, Tensor]:
        return {f"{n}.master": m.detach() for n, m in self._named.items() if m is not self._trained[n]}


def _master(parameter: nn.Parameter) -> nn.Parameter:
    """The parameter itself, or a float32 copy of one that has 16 bits."""
    return parameter if parameter.element_size() > 2 else nn.Parameter(parameter.detach().float())
