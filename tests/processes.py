"""Whether a process that a test started has ended."""

import os
import time
from pathlib import Path


def assert_ends(pid: int) -> None:
    """The process is gone, or a zombie that nobody has collected yet."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} is still there")
