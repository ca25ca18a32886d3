"""Everything that a run must remember to go on as if it had never stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from whet.config import SamplingConfig
from whet.interfaces import Algorithm, Source
from whet.rollouts.batch import minibatches
from whet.runs.files import read_json, read_tensors, write_json, write_tensors
from whet.runs.policy import MODEL
from whet.tracking.metrics import Metrics
from whet.training.update import Learner
from whet.types import Batch

_OPTIMIZER, _STATE, _BATCH = "optimizer.safetensors", "state.json", "batch.safetensors"


@dataclass(slots=True)
class RunState:
    """Where a run stands. Between two steps `batch` is None; inside one it is the batch being learned from."""

    step: int = 0
    """Finished steps."""
    update: int = 0
    """Finished updates of the step under way."""
    batch: Batch | None = None
    metrics: Metrics = field(default_factory=Metrics)
    """Of the step under way."""
    memory: dict[str, float] = field(default_factory=dict)
    """What the algorithm keeps from step to step."""
    skipped_in_row: int = 0
    no_signal_in_row: int = 0
    is_measured: bool = False
    """Whether the evaluation before step 1 is done and logged."""
    best_step: int | None = None
    best_value: float | None = None
    max_steps: int | None = None
    """Where the run ends, when a resume moved it."""
    stop_reason: str | None = None
    """Set when a condition ended the run."""
    seconds: float = 0.0
    """Wall time spent on the run so far."""
    microbatch_tokens: int | None = None
    """The limit of a forward pass, as it was when this was saved: memory may have run out."""
    log_sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each log that belong to what is done."""

    def begin(self, batch: Batch, metrics: Metrics) -> None:
        """Enters a step."""
        self.batch, self.metrics, self.update = batch, metrics, 0

    def remaining(self, algorithm: Algorithm) -> Iterator[Batch]:
        """The minibatches of the updates that the step still lacks: every pass cuts the batch the same way."""
        assert self.batch is not None
        parts = minibatches(self.batch, algorithm.num_minibatches) * algorithm.num_iterations
        for rows in parts[self.update :]:
            yield self.batch.rows(rows)

    def updated(self, metrics: Metrics) -> None:
        """Counts an update of the step under way."""
        self.update += 1
        self.skipped_in_row = self.skipped_in_row + 1 if "optim/skipped" in metrics.values() else 0
        self.metrics.merge(metrics)

    def finish(self) -> None:
        """Leaves a step."""
        self.step, self.update, self.batch, self.metrics = self.step + 1, 0, None, Metrics()


def write(directory: Path, state: RunState, learner: Learner, source: Source) -> None:
    """Writes a checkpoint's files: model, optimizer by name, state, and the batch when inside a step."""
    (directory / MODEL).mkdir()
    learner.policy.save(directory / MODEL)
    write_tensors(directory / _OPTIMIZER, learner.optimizer.state_tensors())
    plain = {
        f.name: getattr(state, f.name)
        for f in dataclasses.fields(state)
        if f.name not in ("batch", "metrics")
    }
    plain["metrics"] = state.metrics.state_dict()
    plain["source"] = source.state_dict()
    plain["policy_version"] = learner.policy.version
    write_json(directory / _STATE, plain)
    if state.batch is not None:
        write_tensors(directory / _BATCH, state.batch.tensors())


def read(
    directory: Path, sampling: SamplingConfig, device: torch.device
) -> tuple[RunState, Mapping[str, Any]]:
    """The state in a checkpoint, and what else it holds: `source`, `policy_version`."""
    plain = read_json(directory / _STATE)
    rest = {name: plain.pop(name) for name in ("source", "policy_version")}
    state = RunState(**{**plain, "metrics": Metrics.from_state(plain["metrics"])})
    if (directory / _BATCH).exists():
        limit = sampling.max_completion_length
        tensors = read_tensors(directory / _BATCH)
        state.batch = Batch(**tensors, temperature=sampling.temperature, max_completion_length=limit).to(
            device
        )
    return state, rest


def read_optimizer(directory: Path) -> dict[str, torch.Tensor]:
    """The optimizer's moments in a checkpoint."""
    return read_tensors(directory / _OPTIMIZER)
