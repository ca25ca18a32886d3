"""Randomness as a function of a key: the same (seed, purpose, step, index) gives the same bits on every device.

There is no generator and so no generator state to save. A key is a 64-bit integer; `uniforms` turns keys and positions
into numbers in [0, 1) by the finaliser of SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2660193.2660195).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def key(seed: int, purpose: str, *indices: int) -> int:
    """A signed 64-bit key for one purpose ("rollout", "prompts", ...) and any number of indices."""
    digest = hashlib.blake2b(purpose.encode(), digest_size=8).digest()
    state = _mix((seed * _GAMMA + int.from_bytes(digest, "little")) & _MASK)
    for index in indices:
        state = _mix((state + _GAMMA + index) & _MASK)
    return _signed(state)


def uniform(a_key: int, position: int = 0) -> float:
    """One number in [0, 1) with 24 bits, equal to `uniforms` of the same key and position."""
    return (_mix((a_key + (position + 1) * _GAMMA) & _MASK) >> 40) * 2.0**-24


def uniforms(keys: Tensor, positions: Tensor) -> Tensor:
    """Numbers in [0, 1) with 24 bits, float32.

    keys: int64, any shape. positions: int64 >= 0, broadcast against keys. The bits are the same on CPU and GPU because
    only integer operations are used; int64 products wrap around in torch.
    """
    state = keys + (positions + 1) * _signed(_GAMMA)
    state = (state ^ _shift(state, 30)) * _signed(_MIX_1)
    state = (state ^ _shift(state, 27)) * _signed(_MIX_2)
    state = state ^ _shift(state, 31)
    return _shift(state, 40).float() * 2.0**-24


def randint(a_key: int, low: int, high: int, position: int = 0) -> int:
    """An integer in [low, high], both included."""
    return low + (_mix((a_key + (position + 1) * _GAMMA) & _MASK) >> 8) % (high - low + 1)


def choice(a_key: int, items: Sequence[Item], position: int = 0) -> Item:
    """One of the items."""
    return items[randint(a_key, 0, len(items) - 1, position)]


def permutation(a_key: int, n: int) -> list[int]:
    """A random order of 0..n-1: positions sorted by their hashes (ties, 1 in 2**64, keep their order)."""
    return sorted(range(n), key=lambda i: _mix((a_key + (i + 1) * _GAMMA) & _MASK))


def _mix(state: int) -> int:
    state = ((state ^ (state >> 30)) * _MIX_1) & _MASK
    state = ((state ^ (state >> 27)) * _MIX_2) & _MASK
    return state ^ (state >> 31)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _shift(state: Tensor, bits: int) -> Tensor:
    """Logical right shift: torch's own is arithmetic on int64."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
