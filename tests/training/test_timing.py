"""What a step took."""

from pathlib import Path

import pytest
import torch

from whet.training.timing import peak_memory_gb

STATUS = Path("/proc/self/status")


@pytest.mark.skipif(not STATUS.exists(), reason="the system tells it in another way")
def test_the_peak_memory_of_the_process_is_that_of_the_system() -> None:
    found = peak_memory_gb(torch.device("cpu"))
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    assert abs(found - int(line.split()[1]) * 1024 / 1e9) < 0.01  # kB there are 1,024 bytes
