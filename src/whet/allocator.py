"""What the C library does with memory that is freed."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGEST = 2**31 - 1
_KEPT = 2**25
"""Bytes of the largest block that is kept, the most that glibc takes. Larger ones of many sizes, as logits of a large
vocabulary are, would leave holes, and the process would grow by them."""


def keep_freed_memory() -> None:
    """Lets the process keep what it frees, but for large blocks, for what it allocates next; with glibc, not elsewhere.

    Every micro-batch allocates the same activations again. Without this the kernel takes their pages back each time and
    hands them out zeroed, which took 15% of an update of a small model.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _LARGEST)
        mallopt(_MMAP_THRESHOLD, _KEPT)
