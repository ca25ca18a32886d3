"""The directory of one run: where things lie, who may write, and how a person names it."""

from __future__ import annotations

import re
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from whet.errors import RunError
from whet.runs import checkpoint, lock
from whet.runs.files import encode_json, read_json, replace_file

State = Literal["running", "finished", "stopped", "failed"]
_STAMPED = re.compile(r"run_(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths of a run. Only whoever holds its lock writes into it."""

    path: Path

    @classmethod
    def create(cls, runs_root: Path | str, now: datetime | None = None) -> Self:
        """A new directory named after the local time; two runs of one second get -2, -3, ..."""
        stamp = (now or datetime.now()).strftime("run_%Y-%m-%d_%H-%M-%S")
        number = 1
        while True:
            path = Path(runs_root) / (stamp if number == 1 else f"{stamp}-{number}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                number += 1
            except OSError as error:
                raise RunError(
                    f"{path} cannot be made: {error.strerror}. Name another place in runs_root or WHET_RUNS"
                ) from error
            else:
                run = cls(path)
                run.set_state("running")
                return run

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The resolved config, which can itself be run."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """What the run ran on."""
        return self.path / "environment.json"

    @property
    def summary_file(self) -> Path:
        """State and results."""
        return self.path / "summary.json"

    @property
    def training_state(self) -> Path:
        """The root of the checkpoints."""
        return self.path / "training_state"

    @property
    def train_log(self) -> Path:
        """Metrics, one line a step."""
        return self.path / "logs" / "train_log.jsonl"

    @property
    def rollouts_log(self) -> Path:
        """Rollouts, one line each."""
        return self.path / "logs" / "rollouts.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def plots(self) -> Path:
        """Pictures."""
        return self.path / "plots"

    @property
    def evals(self) -> Path:
        """Evaluations, by task and step."""
        return self.path / "evals"

    def evaluation(self, task: str, step: int) -> Path:
        """Where the evaluation of one checkpoint on one task lies."""
        return self.evals / task / checkpoint.name(step)

    def discard_evaluations_after(self, step: int) -> None:
        """Removes the evaluations of later steps, whose checkpoints a run gave up when it went back."""
        for path in self.evals.glob("*/step_*"):
            number = path.name.split("_")[1]
            if number.isdecimal() and int(number) > step:
                shutil.rmtree(path)

    def checkpoint(self, spec: int | str = "latest") -> Path:
        """A verified checkpoint by `latest`, `final`, `best`, step or name; see `checkpoint.find`."""
        best = self.summary().get("best_step") if spec == "best" else None
        return checkpoint.find(self.training_state, spec, best)

    def summary(self) -> dict[str, Any]:
        """What summary.json says; empty when there is none."""
        return dict(read_json(self.summary_file)) if self.summary_file.exists() else {}

    def update_summary(self, **values: Any) -> None:
        """Sets some keys of summary.json and keeps the others, in one step."""
        replace_file(self.summary_file, encode_json({**self.summary(), **values}))

    def set_state(self, state: State, why: str = "") -> None:
        """Records how the run stands, and why."""
        self.update_summary(state=state, why=why)

    def write_environment(self, facts: dict[str, Any]) -> None:
        """Writes environment.json in one step."""
        replace_file(self.environment, encode_json(facts))

    def lock(self) -> AbstractContextManager[None]:
        """Keeps every other process from writing into the run; see `lock.hold`."""
        return lock.hold(self.path)

    @property
    def is_locked(self) -> bool:
        """Whether a living process holds the lock."""
        return lock.is_held(self.path)


def list_runs(runs_root: Path | str) -> list[RunDirectory]:
    """The runs below a root, oldest first by their names."""
    root = Path(runs_root)
    found = [path for path in root.iterdir() if _is_run(path)] if root.is_dir() else []
    return [RunDirectory(path) for path in sorted(found, key=_age)]


def resolve(spec: str, runs_root: Path | str) -> tuple[RunDirectory, str | None]:
    """The run that a person names, and the checkpoint if one is named too.

    A run is a path, a name, the unique beginning of a name (with or without `run_`) or `latest`; `RUN:120`,
    `RUN:best` and `RUN:final` are checkpoints of it, and so is the path of a checkpoint. Raises `RunError`
    with the candidates.
    """
    root = Path(runs_root)
    if (found := _look_up(spec, root)) is not None:
        return found
    before, colon, which = spec.rpartition(":")
    if colon and (found := _look_up(before, root)) is not None:
        return found[0], which
    newest = ", ".join(run.name for run in list_runs(root)[-5:]) or "none"
    raise RunError(f"there is no run {before if colon else spec!r}. Newest in {root}: {newest}")


def _look_up(spec: str, root: Path) -> tuple[RunDirectory, str | None] | None:
    runs = list_runs(root)
    if spec == "latest":
        return (runs[-1], None) if runs else None
    matches = [run for run in runs if run.name == spec]
    if not matches and (found := _at(Path(spec).expanduser())) is not None:
        return found
    matches = matches or [run for run in runs if spec and run.name.startswith((spec, f"run_{spec}"))]
    if len(matches) > 1:
        raise RunError(f"{spec!r} begins more than one run: {', '.join(run.name for run in matches)}")
    return (matches[0], None) if matches else None


def _at(path: Path) -> tuple[RunDirectory, str | None] | None:
    """The run at a path, or the run and checkpoint."""
    if _is_run(path):
        return RunDirectory(path), None
    target = path.resolve()
    run = target.parent.parent
    if target.is_dir() and target.parent.name == "training_state" and _is_run(run):
        return RunDirectory(run), target.name
    return None


def _is_run(path: Path) -> bool:
    return (path / "summary.json").is_file() or (path / "config.yaml").is_file()


def _age(path: Path) -> tuple[str, int, str]:
    match = _STAMPED.fullmatch(path.name)
    return (match[1], int(match[2] or 1), "") if match else ("", 0, path.name)
