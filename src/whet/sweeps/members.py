"""The runs of a sweep: where each one lies, how it stands, and the command that takes it further."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whet import yaml_source
from whet.runs import reader
from whet.runs.directory import RunDirectory, list_runs
from whet.runs.files import replace_file
from whet.sweeps.definition import Definition, Setting, slug

MISSING = "missing"
"""The state of a member without a run."""


@dataclass(frozen=True, slots=True)
class Member:
    """One run of a sweep: a setting with one seed."""

    setting: Setting
    seed: int
    directory: Path

    @property
    def name(self) -> str:
        """As a person reads it."""
        return f"{self.setting.label}, seed {self.seed}"

    @property
    def run(self) -> RunDirectory | None:
        """Its newest run."""
        runs = list_runs(self.directory)
        return runs[-1] if runs else None

    @property
    def state(self) -> str:
        """That of its run: finished, running, stopped, failed or lost; `missing` without one."""
        return reader.state(self.run) if self.run else MISSING

    @property
    def output(self) -> Path:
        """What its process printed last."""
        return self.directory / "output.log"

    @property
    def error(self) -> str:
        """Why it is not finished; empty when it is."""
        run, state = self.run, self.state
        if run is None:
            return f"could not start: {_last_line(self.output)}" if self.output.exists() else "not started"
        if state in ("failed", "stopped"):
            return f"{state}: {run.summary().get('why', '')}"
        return "" if state == "finished" else state

    def command(self) -> list[str] | None:
        """What starts it or takes it up again; None where nothing is to be done."""
        whet = [sys.executable, "-m", "whet"]
        if self.state in ("finished", "running"):
            return None
        if self.run and self.run.config.exists():
            return [*whet, "resume", str(self.run.path)]
        return [*whet, "train", str(self._write_config()), "--quiet"]

    def _write_config(self) -> Path:
        """Not named config.yaml: a directory with that is a run."""
        changes = {"seed": self.seed, "runs_root": str(self.directory)}
        config = {**self.setting.config.model_dump(mode="json"), **changes}
        self.directory.mkdir(parents=True, exist_ok=True)
        replace_file(self.directory / "member.yaml", yaml_source.to_text(config).encode())
        return self.directory / "member.yaml"


def members_of(definition: Definition, directory: Path) -> list[Member]:
    """All members: every setting with its first seed, then every one with its second, and so on.

    In this order an unfinished sweep has something to say about every setting.
    """
    return list(_members(definition, directory))


def _members(definition: Definition, directory: Path) -> Iterator[Member]:
    for place in range(definition.num_seeds):
        for setting in definition.settings:
            seed = setting.config.seed + place
            yield Member(setting, seed, directory / f"{slug(setting.label)}_seed{seed}")


def _last_line(file: Path) -> str:
    if not file.exists():
        return ""
    lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip().removeprefix("error: ") if lines else ""
