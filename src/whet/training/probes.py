"""Lets the probes look. They see copies and leave nothing behind: weights are bit-equal with and without them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from whet.functional.reduction import loss_weights
from whet.interfaces import Probe
from whet.training.state import RunState
from whet.training.update import Learner, Objective, weighted_sum
from whet.types import Batch, StepGroups

Seen = TypeVar("Seen")


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
        self._look(lambda probe: probe.annotated(batch))

    def before_update(self, objective: Objective, minibatch: Batch) -> None:
        """Before each update; gradients that a probe takes are its own."""
        if self._probes:
            self._look(lambda probe: probe.before_update(minibatch, self._loss_of(objective, minibatch)))

    def after_update(self, minibatch: Batch) -> None:
        """After each update."""
        self._look(lambda probe: probe.after_update(minibatch))

    def _look(self, see: Callable[[Probe], Mapping[str, float]]) -> None:
        for probe in self._probes:
            if (self._state.step + 1) % probe.every == 0:
                for name, value in see(probe).items():
                    self._state.metrics.add(name, value)

    def _loss_of(self, objective: Objective, minibatch: Batch) -> Callable[[Tensor], Tensor]:
        """The loss of some rows as an update of their own."""

        def loss_of(rows: Tensor) -> Tensor:
            part = minibatch.rows(rows)
            tokens, limit = int(part.loss_mask.sum()), part.max_completion_length
            weights = loss_weights(part.loss_mask, objective.reduction, len(part), tokens, limit)
            part = dataclasses.replace(part, loss_weights=weights)
            terms = objective.terms(part, self._learner.policy.forward(part, objective.want))
            return torch.stack([weighted_sum(part, term) for term in terms.values()]).sum()

        return loss_of
