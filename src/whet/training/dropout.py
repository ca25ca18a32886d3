"""Dropout in supervised steps; in RL the policy that samples is the policy that is trained, and nothing is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from whet.interfaces import Policy
from whet.seeding import key


@contextmanager
def supervised_dropout(policy: Policy, seed: int, step: int) -> Iterator[None]:
    """Dropout where the policy has it, inside; its masks are a function of the seed and the step."""
    dropout = getattr(policy, "dropout", nullcontext)
    with torch.random.fork_rng(), dropout():
        torch.manual_seed(key(seed, "dropout", step))
        yield
