"""Which weights a model holds, in one short text."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

SAMPLED_NUMBERS = 4096
"""Of a tensor that is not read whole; evenly spread."""


def digest(tensors: Mapping[str, Tensor], sampled: Collection[str] = ()) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, sorted by name; of the sampled ones over evenly spread numbers."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        numbers = tensor.detach().flatten()
        if name in sampled:
            numbers = numbers[:: max(1, len(numbers) // SAMPLED_NUMBERS)]
        found.update(numbers.contiguous().cpu().view(torch.uint8).numpy().data)
    return found.hexdigest()


def weights_hash(module: nn.Module) -> str:
    """The digest of all that a module holds. Frozen parameters are sampled: a base of billions stays affordable."""
    frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
    return digest(module.state_dict(), sampled=frozen)


def base_fingerprint(module: nn.Module) -> str:
    """The digest of samples of a model's parameters; those that were quantized differ by device and are left out."""
    named = {name: p for name, p in module.named_parameters() if p.is_floating_point()}
    return digest(named, sampled=named.keys())
