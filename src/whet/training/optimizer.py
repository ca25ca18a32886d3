"""AdamW on named parameters, its learning-rate schedule, and its state by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from whet.config import OptimizerConfig
from whet.errors import RunError

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
    """AdamW (Loshchilov and Hutter, 1711.05101). Matrices decay; biases and gains of norms do not."""

    def __init__(self, module: nn.Module, config: OptimizerConfig) -> None:
        self._named = {name: p for name, p in module.named_parameters() if p.requires_grad}
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
        """What is trained."""
        return list(self._named.values())

    def clip(self) -> float:
        """Scales the gradient down to `max_grad_norm` and returns the norm it had."""
        return float(nn.utils.clip_grad_norm_(self.parameters, self._max_grad_norm))

    def step(self, rate: float) -> None:
        """Moves the parameters along the gradient."""
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()

    def forget_gradient(self) -> None:
        """Drops the gradient."""
        self._adamw.zero_grad(set_to_none=True)

    def state_tensors(self) -> dict[str, Tensor]:
        """The moments of every parameter as `<parameter>.<moment>`; empty before the first step."""
        return {
            f"{name}.{moment}": self._adamw.state[parameter][moment]
            for name, parameter in self._named.items()
            for moment in _MOMENTS
            if moment in self._adamw.state[parameter]
        }

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes moments back by name; raises `RunError` when they are not those of this model's parameters."""
        expected = {f"{name}.{moment}" for name in self._named for moment in _MOMENTS}
        if tensors and set(tensors) != expected:
            odd = sorted(set(tensors) ^ expected)[:3]
            raise RunError(
                f"the optimizer state belongs to another model: {', '.join(odd)} and others do not match"
            )
        for name, parameter in self._named.items():
            for moment in _MOMENTS if tensors else ():
                # The step count too: the fused kernel reads it where the parameter is.
                value = tensors[f"{name}.{moment}"].to(parameter.device, copy=True)
                self._adamw.state[parameter][moment] = value
