"""The device that a config names."""

import pytest
import torch

from whet.errors import ConfigError
from whet.runs.policy import pick_device


def test_a_device_is_found_by_its_name():
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["graphics", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"device: expected auto, cpu or .*, found '{name}'"):
        pick_device(name)
