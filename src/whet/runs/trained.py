"""The policy of a run together with the settings that it was trained with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whet.config import Config, load_config
from whet.interfaces import Policy
from whet.runs.directory import RunDirectory
from whet.runs.policy import MODEL, load_policy, pick_device, set_threads


@dataclass(frozen=True, slots=True)
class Trained:
    """A checkpoint of a run, loaded."""

    run: RunDirectory
    checkpoint: Path
    config: Config
    policy: Policy

    @classmethod
    def load(cls, run: RunDirectory, which: str | None = None, device: str = "auto") -> Trained:
        """which: `latest` (the default, the newest good one), `best`, `final`, a step or a checkpoint's name."""
        config = load_config([run.config])
        set_threads(config.num_threads)
        checkpoint = run.checkpoint(which or "latest")
        return cls(run, checkpoint, config, load_policy(checkpoint / MODEL, pick_device(device)))
