"""Scalars for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from whet.tracking.open import RunView


class TensorBoard:
    """Writes every metric of a step as a scalar of the same name."""

    def __init__(self, directory: Path, resume_step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Points after the step that the run continues from were taken back; the purge mark hides them.
        purge_step = None if resume_step is None else resume_step + 1
        self._writer = SummaryWriter(str(directory), purge_step=purge_step)

    @classmethod
    def open(cls, run: RunView) -> Self:
        """Scalars in the run's own folder."""
        return cls(run.tensorboard, run.resume_step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes one step through to the file: a killed run shows all its steps."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the event file."""
        self._writer.close()
