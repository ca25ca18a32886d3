"""What a config leaves to the machine: settled once, before a run begins, and written into it as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter

import torch

from whet.config import Config
from whet.doctor.machine import memory_bytes, size
from whet.errors import ConfigError
from whet.interfaces import Policy
from whet.training.budget import cpu_budget, gpu_budget
from whet.training.footprint import footprint
from whet.training.forecast import Sizes, forecast, sizes_of
from whet.training.job import Data
from whet.training.threads import available_cores, threads_for


def settled(config: Config, policy: Policy, data: Data, device: torch.device) -> Config:
    """The config with numbers for the threads of a CPU and the tokens of a micro-batch, where it has none.

    Raises `ConfigError` for a run that the memory of this machine cannot hold, where that can be told beforehand: on a
    CPU.
    """
    if device.type == "cpu":
        config = _with_threads(config, policy)
    if device.type == "cpu" or config.batch.microbatch_tokens == "auto":
        sizes = sizes_of(policy, data, config.prompt, device)
        config = with_budget(config, sizes, None if device.type == "cpu" else policy)
        if device.type == "cpu":
            refuse_too_large(forecast(config, sizes)["memory_bytes"])
    return config


def with_budget(config: Config, sizes: Sizes, on_gpu: Policy | None = None) -> Config:
    """The config with a number for `batch.microbatch_tokens: auto`: by forecast, or measured on a policy's GPU."""
    if config.batch.microbatch_tokens != "auto":
        return config
    tokens = cpu_budget(config, sizes) if on_gpu is None else gpu_budget(config, sizes, on_gpu)
    batch = config.batch.model_copy(update={"microbatch_tokens": tokens})
    return config.model_copy(update={"batch": batch})


def refuse_too_large(memory: Mapping[str, int]) -> None:
    """Raises `ConfigError` when a forecast of `memory_bytes` is more than this machine has, or its container."""
    needed, there = memory["total"], memory_bytes()[1]
    if needed <= there:
        return
    parts = sorted((part for part in memory.items() if part[0] != "total"), key=itemgetter(1), reverse=True)
    listed = ", ".join(f"{name.replace('_', ' ')} {size(count)}" for name, count in parts if count)
    raise ConfigError(
        f"the run needs about {size(needed)} of memory and there are {size(there)}: {listed}. Lower "
        "batch.microbatch_tokens (activations), engine.max_rows or sampling.max_completion_length (kv cache), or train "
        "policy.lora (gradients, optimizer)"
    )


def _with_threads(config: Config, policy: Policy) -> Config:
    if config.num_threads is not None:
        return config
    threads = threads_for(footprint(policy.module).parameters, available_cores())
    return config.model_copy(update={"num_threads": threads})
