"""One update: loss, gradient, optimizer step. However its minibatch is cut, the gradient is the same."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from whet.distributed.world import World
from whet.errors import TrainingError, first_line
from whet.functional.reduction import loss_weights
from whet.interfaces import Policy, Reduction, Want
from whet.rollouts.batch import microbatches
from whet.tracking.metrics import Metrics
from whet.training.optimizer import Optimizer
from whet.training.out_of_memory import halved
from whet.types import Batch, TokenStats

_log = logging.getLogger(__name__)
Found = TypeVar("Found")


class Objective(Protocol):
    """What an update minimises: the sum over named terms of `(loss_weights * term).sum()`."""

    reduction: Reduction
    want: frozenset[Want]

    def moving(self, batch: Batch) -> Tensor:
        """Which rows, bool `[B]`, may have a gradient; the others are not computed, and still count in N."""
        ...

    def terms(self, batch: Batch, stats: TokenStats) -> dict[str, Tensor]:
        """Per-token terms `[B, T]`, coefficients included, zero outside the mask."""
        ...

    def measure(self, batch: Batch, stats: TokenStats, metrics: Metrics) -> None:
        """Adds what is worth knowing of a micro-batch."""
        ...


@dataclass(slots=True)
class Learner:
    """A policy, the optimizer that moves it, the memory limit of a forward pass, and the other processes."""

    policy: Policy
    optimizer: Optimizer
    microbatch_tokens: int
    """Falls when the memory of a GPU runs out, and stays there; part of every checkpoint."""
    world: World

    def update(self, objective: Objective, minibatch: Batch, rate: float) -> Metrics:
        """Moves the policy once.

        A non-finite loss or gradient moves nothing and is counted in `optim/skipped`. Nor does a gradient of exactly
        zero: momentum alone is no reason to move. Where memory runs out the gradient is begun again with smaller
        micro-batches; raises `TrainingError` when a single sequence is too much.
        """
        metrics = Metrics()
        losses = self.backward(objective, minibatch, metrics)
        norm = self.optimizer.clip()
        (non_finite,) = self.world.sum(not math.isfinite(norm + sum(losses.values())))
        if not non_finite and norm > 0:
            self.optimizer.step(rate)
            self.policy.version += 1
        self.optimizer.forget_gradient()
        if non_finite:
            metrics.count("optim/skipped")
        for name, value in losses.items():
            metrics.add(f"loss/{name}", value)
        metrics.add("optim/grad_norm", norm)
        metrics.add("optim/learning_rate", rate)
        return metrics

    def backward(self, objective: Objective, minibatch: Batch, metrics: Metrics) -> dict[str, float]:
        """Puts the gradient of the whole update into the parameters; returns what these rows give to each term.

        Processes meet before and after their own passes, never between them: one that begins again keeps the others
        waiting and changes nothing for them, and where one has to give up, all do.
        """
        minibatch = self.weighted(objective, minibatch)
        minibatch = minibatch.rows(objective.moving(minibatch).nonzero()[:, 0])
        losses, failure = dict[str, float](), None
        try:
            losses = self._gradient(objective, minibatch, metrics)
        except TrainingError as error:
            failure = error
        self.world.raise_together(failure)
        self.world.sum_gradients(self.optimizer.masters)
        return losses

    def _gradient(self, objective: Objective, minibatch: Batch, metrics: Metrics) -> dict[str, float]:
        """The gradient of this process's rows."""

        def attempt(limit: int) -> tuple[dict[str, float], Metrics]:
            measured = Metrics()
            return self._passes(objective, minibatch, limit, measured), measured

        losses, measured = self.within_memory(minibatch, attempt)
        metrics.merge(measured)
        return losses

    def within_memory(self, batch: Batch, attempt: Callable[[int], Found]) -> Found:
        """What passes over a batch find, begun again with smaller micro-batches until memory suffices.

        attempt: from the tokens of a micro-batch. One that failed leaves nothing, no gradient either; the limit that
        did is that of all later passes. Raises `TrainingError` when a single sequence is too much.
        """
        limit = self.microbatch_tokens
        while True:
            try:
                found = attempt(limit)
                break
            except torch.OutOfMemoryError as error:
                reason = first_line(error)
            # Only here has the error let go of the tensors of the pass that failed.
            self.optimizer.forget_gradient()
            torch.cuda.empty_cache()
            limit = halved(limit, batch, self.policy.packs)
        if limit < self.microbatch_tokens:
            said = "memory ran out: micro-batches have %d tokens instead of %d from here on (%s)"
            _log.warning(said, limit, self.microbatch_tokens, reason)
            self.microbatch_tokens = limit
        return found

    def _passes(
        self, objective: Objective, minibatch: Batch, limit: int, metrics: Metrics
    ) -> dict[str, float]:
        losses: Counter[str] = Counter()
        for rows in microbatches(minibatch, limit, self.policy.packs):
            micro = minibatch.rows(rows)
            stats = self.policy.forward(micro, objective.want)
            terms = {name: weighted_sum(micro, term) for name, term in objective.terms(micro, stats).items()}
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
            self.optimizer.gather()
            losses.update({name: float(term.detach()) for name, term in terms.items()})
            objective.measure(micro, stats, metrics)
        return dict(losses)

    def weighted(self, objective: Objective, minibatch: Batch) -> Batch:
        """The minibatch with the weights of its tokens: N and the token count are those of the whole update."""
        sequences, tokens = self.world.sum(len(minibatch), int(minibatch.loss_mask.sum()))
        limit = minibatch.max_completion_length
        weights = loss_weights(minibatch.loss_mask, objective.reduction, int(sequences), int(tokens), limit)
        return dataclasses.replace(minibatch, loss_weights=weights)


def weighted_sum(batch: Batch, term: Tensor) -> Tensor:
    """A term's share of the loss: `(loss_weights * term).sum()`."""
    assert batch.loss_weights is not None
    return (batch.loss_weights * term).sum()
