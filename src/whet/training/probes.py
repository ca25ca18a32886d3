"""Lets the probes look. They see copies and leave nothing behind: weights are bit-equal with and without them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from whet.interfaces import Probe
from whet.rollouts.batch import microbatches
from whet.training.state import RunState
from whet.training.update import Learner, Objective, weighted_sum
from whet.types import Batch, StepGroups


class Probes:
    """The probes of a run; their numbers go into the metrics of the step under way."""

    def __init__(self, probes: Sequence[Probe], state: RunState, learner: Learner) -> None:
        self._probes = probes
        self._state = state
        self._learner = learner

    def scored(self, groups: StepGroups) -> None:
        """After scoring."""
        self._look(lambda probe: probe.scored(groups.admitted))

    def annotated(self, batch: Batch) -> None:
        """Once advantages are known."""
        self._look(lambda probe: probe.annotated(_copy(batch)))

    def before_update(self, objective: Objective, minibatch: Batch) -> None:
        """Before each update; gradients that a probe takes are its own."""
        if any(map(self._is_due, self._probes)):
            loss_of = MinibatchLoss(self._learner, objective, self._learner.weighted(objective, minibatch))
            self._look(lambda probe: probe.before_update(_copy(minibatch), loss_of))

    def after_update(self, minibatch: Batch) -> None:
        """After each update."""
        self._look(lambda probe: probe.after_update(_copy(minibatch)))

    def _is_due(self, probe: Probe) -> bool:
        return (self._state.step + 1) % probe.every == 0

    def _look(self, see: Callable[[Probe], Mapping[str, float]]) -> None:
        for probe in filter(self._is_due, self._probes):
            with undisturbed(self._learner.policy.module):
                found = see(probe)
            for name, value in found.items():
                self._state.metrics.add(name, value)


@dataclass(frozen=True, slots=True)
class MinibatchLoss:
    """Shares in the loss of an update, its denominators being those of the whole update."""

    learner: Learner
    objective: Objective
    minibatch: Batch

    def __call__(self, rows: Tensor) -> Tensor:
        """The share of some rows."""
        return torch.stack(list(self._shares(rows))).sum()

    def gradient(self, rows: Tensor) -> Tensor:
        """The gradient of their share, `[number of trained parameters]`; one micro-batch in memory at a time."""
        parameters = self.learner.optimizer.parameters
        total = torch.cat([torch.zeros_like(p, dtype=_wide(p)).flatten() for p in parameters])
        for share in self._shares(rows):
            found = torch.autograd.grad(share, parameters, materialize_grads=True)
            total += torch.cat([g.flatten().to(total.dtype) for g in found])
        return total

    def _shares(self, rows: Tensor) -> Iterator[Tensor]:
        part = self.minibatch.rows(rows)
        for some in microbatches(part, self.learner.microbatch_tokens, self.learner.policy.packs):
            micro = part.rows(some)
            terms = self.objective.terms(micro, self.learner.policy.forward(micro, self.objective.want))
            yield torch.stack([weighted_sum(micro, term) for term in terms.values()]).sum()


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Whatever happens inside, gradients, random states, training modes and grad mode are as before."""
    gradients = [(p, p.grad) for p in module.parameters()]
    modes = [(m, m.training) for m in module.modules()]
    python, numbers = random.getstate(), numpy.random.get_state()
    devices = {p.device for p, _ in gradients if p.device.type == "cuda"}
    for parameter, _ in gradients:
        parameter.grad = None  # a backward pass of the probe adds to tensors of its own
    try:
        with torch.random.fork_rng(devices), torch.enable_grad():
            yield
    finally:
        random.setstate(python)
        numpy.random.set_state(numbers)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for inner, is_training in modes:
            inner.training = is_training


def _wide(parameter: Tensor) -> torch.dtype:
    """At least float32: sums of 16 bits lose what is small."""
    return torch.promote_types(parameter.dtype, torch.float32)


def _copy(batch: Batch) -> Batch:
    copies: dict[str, Any] = {name: tensor.clone() for name, tensor in batch.tensors().items()}
    return dataclasses.replace(batch, **copies)
