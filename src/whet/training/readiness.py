"""Whether a config could be run on this machine: a row for every obstacle, nothing trained, nothing downloaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from whet.config import Config
from whet.doctor.finding import Finding
from whet.doctor.machine import disk_bytes, memory_bytes, size
from whet.errors import WhetError
from whet.runs.policy import pick_device
from whet.tracking.open import check_trackers
from whet.training.forecast import forecast, sizes_of
from whet.training.job import Data, build_policy
from whet.training.settle import with_budget

Made = TypeVar("Made")
_NEARLY = 0.8
"""Share of the free memory or disk from which a forecast, which is rough, is a warning."""

_ONLY_FOR_LACK_OF_THE_HUB = ("the Hub cannot be reached", "Without the Hub")
"""What the errors of models/pretrained.py and tasks/_hub.py say."""


def findings(config: Config, hub_answers: bool = False) -> list[Finding]:
    """The rows of a config. What comes after an obstacle and cannot be looked at without it is left out.

    hub_answers: what is missing here and would come from the Hub is then a warning, and no failure.
    """
    look = _Looks(hub_answers)
    look("trackers", lambda: check_trackers(config.trackers), lambda _: ", ".join(config.trackers) or "none")
    device = look("device", lambda: pick_device(config.device), str)
    with _offline():
        data = look("data", lambda: Data.load(config), _counts)
        if data is not None:
            policy = look("policy", lambda: _built(config, data), _parameters)
            if policy is not None:
                sizes = sizes_of(policy, data, config.prompt, device or torch.device("cpu"))
                expected = forecast(with_budget(config, sizes), sizes)
                look.rows += [_memory(expected, device), _disk(config, expected)]
    return look.rows


class _Looks:
    """Runs checks and turns what they raise into rows."""

    def __init__(self, hub_answers: bool) -> None:
        self.rows: list[Finding] = []
        self._hub_answers = hub_answers

    def __call__(self, what: str, make: Callable[[], Made], tell: Callable[[Made], str]) -> Made | None:
        """What was made; None when it raised."""
        try:
            made = make()
        except WhetError as error:
            self.rows.append(self._obstacle(what, str(error)))
            return None
        self.rows.append(Finding(what=what, status="OK", found=tell(made)))
        return made

    def _obstacle(self, what: str, why: str) -> Finding:
        if self._hub_answers and any(text in why for text in _ONLY_FOR_LACK_OF_THE_HUB):
            return Finding(
                what=what, status="WARN", found="not on this machine", next_step="the run will download it"
            )
        return Finding(
            what=what, status="FAIL", found=why, next_step="mend that first: a run would stop with it"
        )


def _built(config: Config, data: Data) -> Any:
    policy = build_policy(config, data, torch.device("cpu"))
    cast(Any, config.engine).build(policy)
    return policy


def _counts(data: Data) -> str:
    return f"{len(data.train):,} examples to train on, {len(data.plan.examples):,} to evaluate on"


def _parameters(policy: Any) -> str:
    return f"{sum(p.numel() for p in policy.module.parameters()):,} parameters"


def _memory(expected: dict[str, Any], device: torch.device | None) -> Finding:
    is_gpu = device is not None and device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if is_gpu else memory_bytes()[0]
    steps = "lower batch.microbatch_tokens or batch.num_generations, or train policy.lora"
    return _fits("memory of the run", expected["memory_bytes"]["total"], free, steps)


def _disk(config: Config, expected: dict[str, Any]) -> Finding:
    free = disk_bytes(Path(config.runs_root))
    return _fits(
        "disk of the run", expected["disk_bytes"]["total"], free, "set keep_checkpoints, or raise save_every"
    )


def _fits(what: str, needed: int, free: int, steps: str) -> Finding:
    is_too_much, is_close = needed > free, needed > _NEARLY * free
    return Finding(
        what=what,
        status="FAIL" if is_too_much else "WARN" if is_close else "OK",
        found=f"about {size(needed)} of {size(free)} free",
        next_step=steps if is_close else "",
    )


@contextmanager
def _offline() -> Iterator[None]:
    """Keeps the Hub's library from downloading, be it loaded already or not."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    constants: Any = sys.modules.get("huggingface_hub.constants")
    flag = getattr(constants, "HF_HUB_OFFLINE", None)
    if constants is not None:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        _restore(before, constants, flag)


def _restore(before: str | None, constants: Any, flag: bool | None) -> None:
    if before is None:
        del os.environ["HF_HUB_OFFLINE"]
    else:
        os.environ["HF_HUB_OFFLINE"] = before
    # Loaded meanwhile, it has read the variable: give it what it would have read.
    constants = constants or sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        constants.HF_HUB_OFFLINE = (
            flag if flag is not None else (before or "").lower() in ("1", "on", "yes", "true")
        )
