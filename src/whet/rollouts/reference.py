"""The frozen policy of step 0: the trained tensors as they were, lent to the one module for a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from whet.interfaces import Policy, Want
from whet.types import Batch, TokenStats


class Reference:
    """Another set of the trained tensors of a policy. What is not trained (a base under adapters) is not copied."""

    def __init__(self, policy: Policy, tensors: Mapping[str, Tensor]) -> None:
        """tensors: those that `trained_tensors` gave, by name."""
        named = dict(policy.module.named_parameters())
        self._policy = policy
        self.packs = policy.packs
        self._pairs = [(named[name], value.to(named[name].device)) for name, value in tensors.items()]

    @torch.no_grad()
    def forward(self, batch: Batch, want: frozenset[Want] = frozenset()) -> TokenStats:
        """Statistics of the trained tokens of a batch, without gradients."""
        with self._lent():
            return self._policy.forward(batch, want)

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """Nothing is copied: parameters point at other memory for a while."""
        own = [parameter.data for parameter, _ in self._pairs]
        for parameter, value in self._pairs:
            parameter.data = value
        try:
            yield
        finally:
            for (parameter, _), value in zip(self._pairs, own, strict=True):
                parameter.data = value


def trained_tensors(policy: Policy) -> dict[str, Tensor]:
    """Copies of the parameters that training moves, by name."""
    named = policy.module.named_parameters()
    return {name: p.detach().clone() for name, p in named if p.requires_grad}
