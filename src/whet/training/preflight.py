"""Before a run: everything that can be checked without training, and what training will take."""

from __future__ import annotations

from typing import Any, cast

import torch

from whet.config import Config
from whet.runs.policy import pick_device
from whet.tracking.open import check_trackers
from whet.training.forecast import forecast, sizes_of
from whet.training.job import Data, build_policy
from whet.training.settle import with_budget


def preflight(config: Config) -> dict[str, Any]:
    """The forecast of a run whose data, prompts and rewards have been checked; nothing is trained or written.

    Raises what the run itself would raise: `DataError` for a bad row or a prompt that is too long, `ConfigError`, and
    `VerifierError` when the task's own solution cannot be scored. What memory cannot hold is for the caller to refuse,
    once the forecast is told: see `settle.refuse_too_large`.
    """
    check_trackers(config.trackers)
    device = pick_device(config.device)
    data = Data.load(config)
    policy = build_policy(config, data, torch.device("cpu"))
    cast(Any, config.engine).build(policy)
    sizes = sizes_of(policy, data, config.prompt, device)
    return forecast(with_budget(config, sizes), sizes)
