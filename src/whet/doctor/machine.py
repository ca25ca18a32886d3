"""How much memory and disk this process may still take, and how to say it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of a container's memory, in both versions of the kernel's interface."""


def memory_bytes() -> tuple[int, int]:
    """Free and total memory; of the container where it has a limit below the machine's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = _available() or total
    for limit_file, used_file in CGROUPS:
        limit, used = _number(limit_file), _number(used_file)
        if limit is not None and used is not None and limit < total:
            return min(free, limit - used), limit
    return free, total


def disk_bytes(directory: Path) -> int:
    """Free space where a directory is, or would be made."""
    return shutil.disk_usage(existing(directory)).free


def existing(path: Path) -> Path:
    """The path, or the nearest one above it that is there."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def size(count: float) -> str:
    """Bytes for people, in powers of 1000: `1.6 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count = count / 1000
    return f"{count:.3g} TB"


def _available() -> int | None:
    """What Linux would give without swapping; None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(kilobytes) * 1024 for kilobytes in found), None)


def _number(file: str) -> int | None:
    try:
        return int(Path(file).read_text())
    except (OSError, ValueError):  # "max" is no limit
        return None
