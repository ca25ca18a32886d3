"""How many CPU threads torch gets where a config leaves that open: a fixed rule, written into the run."""

from __future__ import annotations

import os

RULE: tuple[tuple[int, int], ...] = ((5_000_000, 1), (50_000_000, 2))
"""Models below so many parameters get at most so many threads."""
MOST = 16
"""Of larger models: beyond it the threads of one matrix product wait for each other."""


def threads_for(parameters: int, cores: int) -> int:
    """The threads for a model of so many parameters, never more than there are cores.

    In a small model the parts of a sum take less time than it takes to wait for the slowest thread: on a virtual
    machine whose cores others use, two threads were up to four times slower than one.
    """
    most = next((threads for size, threads in RULE if parameters < size), MOST)
    return min(most, cores)


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
