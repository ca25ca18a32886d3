"""The warm start: supervised steps on demonstrations, completion tokens only, through the same update as RL."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import torch

from whet.config import SamplingConfig, WarmStartConfig
from whet.distributed.world import World
from whet.errors import Interrupted
from whet.interfaces import Policy
from whet.rollouts.batch import make_batch
from whet.rollouts.demonstrations import DemonstrationSource
from whet.rollouts.reference import trained_tensors
from whet.runs.files import read_json, read_tensors, write_json, write_tensors
from whet.tracking.metrics import Metrics
from whet.training.dropout import supervised_dropout
from whet.training.objectives import Imitation
from whet.training.optimizer import Optimizer, learning_rate
from whet.training.update import Learner
from whet.types import Rollout

_TENSORS = "policy.safetensors"
AVERAGED_STEPS = 10
"""Steps whose mean loss is held against `target_nll`."""


class WarmStart:
    """The stage, step by step: a function of the seed alone, which can be written down and taken up again."""

    def __init__(
        self, policy: Policy, rollouts: Sequence[Rollout], config: WarmStartConfig, seed: int
    ) -> None:
        """rollouts: the demonstrations."""
        self._config, self._seed = config, seed
        self._source = DemonstrationSource(rollouts, seed, config.batch_size)
        optimizer = Optimizer(policy.module, config.optimizer)
        self._learner = Learner(policy, optimizer, config.microbatch_tokens, World())
        self._recent: deque[float] = deque(maxlen=AVERAGED_STEPS)
        self.step = 0
        """Finished steps."""

    def run(self, should_stop: Callable[[], bool], report: Callable[[int, Metrics], None]) -> None:
        """Trains to the end of the stage. Raises `Interrupted` between two steps."""
        while self.step < self._config.steps and not self._is_good_enough():
            if should_stop():
                raise Interrupted
            batch = make_batch(self._source.take(self.step + 1).admitted, SamplingConfig(), self._device)
            rate = learning_rate(self.step + 1, self._config.optimizer, self._config.steps)
            with supervised_dropout(self._learner.policy, self._seed, self.step):
                metrics = self._learner.update(Imitation(), batch, rate)
            self.step += 1
            self._recent.append(metrics.values().get("loss/nll", math.inf))
            report(self.step, metrics)

    def write(self, directory: Path) -> None:
        """Writes what the stage needs to go on."""
        policy = self._learner.policy
        write_tensors(directory / _TENSORS, trained_tensors(policy))
        write_tensors(directory / "optimizer.safetensors", self._learner.optimizer.state_tensors())
        recent = [None if math.isinf(value) else value for value in self._recent]
        state = {"step": self.step, **self._source.state_dict(), "recent": recent}
        state["microbatch_tokens"] = self._learner.microbatch_tokens
        write_json(directory / "state.json", {**state, "policy_version": policy.version})

    def restore(self, directory: Path) -> None:
        """Goes on from what `write` wrote."""
        policy, state = self._learner.policy, read_json(directory / "state.json")
        named = dict(policy.module.named_parameters())
        for name, value in read_tensors(directory / _TENSORS).items():
            named[name].data.copy_(value)
        policy.version = state["policy_version"]
        self._learner.optimizer.load_state_tensors(read_tensors(directory / "optimizer.safetensors"))
        self.step = state["step"]
        self._learner.microbatch_tokens = state.get("microbatch_tokens", self._learner.microbatch_tokens)
        self._source.load_state_dict(state)
        self._recent.extend(math.inf if value is None else value for value in state["recent"])

    def _is_good_enough(self) -> bool:
        target, recent = self._config.target_nll, self._recent
        return target is not None and len(recent) == AVERAGED_STEPS and fmean(recent) <= target

    @property
    def _device(self) -> torch.device:
        return next(self._learner.policy.module.parameters()).device
