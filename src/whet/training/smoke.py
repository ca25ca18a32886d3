"""Tries a job in short, as a user would: train two steps, evaluate every checkpoint, resume, and look at what was
written. Each part runs in a process of its own, so that what it held is free for the next."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.config import Config, dump_config, load_config
from whet.errors import ConfigError, RunError, WhetError
from whet.runs import checkpoint, child, reader
from whet.runs.directory import RunDirectory, list_runs

GRACE_S = 10.0
"""A part that is interrupted has this long to end its own children."""
WARM_START_STEPS = 2


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list."""

    name: str
    ok: bool | None
    """None where a part before it failed, so that there was nothing to look at."""
    detail: str
    """What was found, or why it failed."""
    advice: str = ""
    """What to do next, where it failed."""


class _Failed(Exception):
    def __init__(self, detail: str, advice: str) -> None:
        super().__init__(detail)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Trial:
    """One job on trial, alone in its folder."""

    config: Config
    root: Path

    @property
    def job(self) -> Path:
        """The config that is run."""
        return self.root / "job.yaml"

    @property
    def run(self) -> RunDirectory:
        """The run; raises `RunError` when it was not made."""
        runs = list_runs(self.root)
        if not runs:
            raise RunError("no run was made")
        return runs[0]


def smoke_config(sources: Sequence[str], overrides: Sequence[str] = ()) -> Config:
    """The job in short: the overlay `smoke` after the files, before single settings, and a warm start of two steps.

    Raises `ConfigError` for one that saves nothing: checkpoints are what is looked at.
    """
    config = load_config([*sources, "smoke"], overrides)
    if config.save_every == 0:
        raise ConfigError(
            "save_every is 0, and a smoke run looks at checkpoints: leave it out, it is 1 there"
        )
    changes: dict[str, Any] = {
        "trackers": ("jsonl", *(t for t in config.trackers if t not in ("console", "jsonl")))
    }
    if config.warm_start is not None:
        steps = min(config.warm_start.steps, WARM_START_STEPS)
        changes["warm_start"] = config.warm_start.model_copy(update={"steps": steps})
    return config.model_copy(update=changes)


def smoke(
    config: Config,
    keep: bool,
    on_check: Callable[[Check], None] = lambda check: None,
    on_begin: Callable[[str], None] = lambda name: None,
) -> tuple[list[Check], Path | None]:
    """Every check in order, and the folder of the run where it was kept: when asked to, or when a check failed.

    The run lies in a folder of its own inside `runs_root`, so that `latest` never means a trial, and so that the disk
    is the one that the job will use. `on_begin` hears the name of a check that begins.
    """
    root = Path(config.runs_root)
    was_there = root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        trial = Trial(config, Path(tempfile.mkdtemp(prefix="smoke_", dir=root)))
    except OSError as error:
        raise RunError(
            f"{root} cannot be written: {error.strerror}. Name another place in runs_root"
        ) from error
    checks = []
    for check in _checks(trial, on_begin):
        checks.append(check)
        on_check(check)
    if keep or not all(c.ok for c in checks):
        return checks, trial.root
    shutil.rmtree(trial.root)
    if not was_there:
        with contextlib.suppress(OSError):  # another run may have come in the meantime
            root.rmdir()
    return checks, None


def _checks(trial: Trial, on_begin: Callable[[str], None]) -> Iterator[Check]:
    has_run = True
    for name, look in CHECKS:
        if not has_run:
            yield Check(name, None, "not reached")
            continue
        on_begin(name)
        try:
            yield Check(name, True, look(trial))
        except (_Failed, WhetError) as error:
            yield Check(name, False, str(error), getattr(error, "advice", f"look at {trial.root}"))
            has_run = name != "train"


def _train(trial: Trial) -> str:
    config = trial.config.model_copy(update={"runs_root": str(trial.root)})
    trial.job.write_text(dump_config(config), encoding="utf-8")
    _whet(
        ["train", str(trial.job), "--quiet"],
        "see what is wrong before anything runs: whet train CONFIG --dry-run",
    )
    summary = trial.run.summary()
    if (state := summary.get("state")) != "finished":
        raise _Failed(f"the run is {state}: {summary.get('why')}", f"look at {trial.run.summary_file}")
    return f"{summary['steps']} steps in {summary['wall_s']:.1f} s; {summary['why']}"


def _config(trial: Trial) -> str:
    """The config in the run is the job's and can itself be run."""
    found, asked = load_config([trial.run.config]), load_config([trial.job])
    if found != _settled_as(asked, found):
        raise _Failed(
            "the config in the run is another than the job's", f"compare {trial.run.config} with {trial.job}"
        )
    return "the resolved config reads back equal"


def _settled_as(asked: Config, found: Config) -> Config:
    """The job with the numbers that the run found for what a config leaves to the machine."""
    if asked.num_threads is None:
        asked = asked.model_copy(update={"num_threads": found.num_threads})
    if asked.batch.microbatch_tokens == "auto":
        batch = asked.batch.model_copy(update={"microbatch_tokens": found.batch.microbatch_tokens})
        asked = asked.model_copy(update={"batch": batch})
    return asked


def _checkpoints(trial: Trial) -> str:
    root, last = trial.run.training_state, _steps(trial)
    names = [path.name for path in checkpoint.steps(root)]
    if missing := [n for n in map(checkpoint.name, range(1, last + 1)) if n not in names]:
        raise _Failed(
            f"{', '.join(missing)} missing in {root}", "is there room on the disk? see the log of the run"
        )
    for name in names:
        checkpoint.verify(root / name)
    return f"{', '.join(names)}: whole, every file as its manifest says"


def _links(trial: Trial) -> str:
    root, wanted = trial.run.training_state, checkpoint.name(_steps(trial))
    for link in ("step_latest", "step_final"):
        path = root / link
        if not path.is_symlink() or path.readlink() != Path(wanted):
            found = path.readlink() if path.is_symlink() else "no link"
            raise _Failed(
                f"{link}: expected a relative link to {wanted}, found {found}",
                "nothing in whet relies on the links; a file system without them is no reason to wait",
            )
    return f"step_latest and step_final lead to {wanted}"


def _log(trial: Trial) -> str:
    records = [r for r in reader.metrics(trial.run) if "optim/learning_rate" in r]
    steps = [r["step"] for r in records]
    if steps != [*range(1, _steps(trial) + 1)]:
        raise _Failed(f"expected a line per step, found steps {steps}", f"look at {trial.run.train_log}")
    holes = [f"{k} of step {r['step']}" for r in records for k, v in r.items() if v is None]
    if holes := [hole for hole in holes if hole.startswith(("loss/", "optim/", "policy/"))]:
        raise _Failed(
            f"not finite: {', '.join(holes)}", "lower optimizer.learning_rate, or train in precision fp32"
        )
    return f"a line for each of {len(steps)} steps, all finite"


def _rollouts(trial: Trial) -> str:
    if trial.config.stage == "sft":
        return "none: a supervised run samples nothing in training"
    rollouts = list(reader.rollouts(trial.run))
    rewards = [r["reward"] for r in rollouts if r["reward"] is not None]
    if not rewards:
        raise _Failed("no completion has a reward", "whet tasks NAME shows the rewards of an example")
    failed = f", {len(rollouts) - len(rewards)} without one" if len(rewards) < len(rollouts) else ""
    note = "" if min(rewards) < max(rewards) else ": all the same, so nothing is learned from them yet"
    return f"{len(rewards)} rewards from {min(rewards):g} to {max(rewards):g}{failed}{note}"


def _plot(trial: Trial) -> str:
    return _picture(trial.run.plots / "training.png")


def _evaluate(trial: Trial) -> str:
    advice = f"try one checkpoint alone: whet eval {trial.run.path}:final"
    found = json.loads(_whet(["eval", str(trial.run.path), "--all-steps", "--json"], advice))
    rows = found["rows"]
    evaluated = trial.run.evals / found["evaluation"]
    if rows[-1]["checkpoint"] != "final":
        raise _Failed(f"the last checkpoint is not final but {rows[-1]['checkpoint']}", advice)
    for row in rows:
        folder = evaluated / checkpoint.name(row["step"])
        if missing := [n for n in ("records.jsonl", "metrics.json") if not (folder / n).is_file()]:
            raise _Failed(f"{folder} has no {' and no '.join(missing)}", advice)
    _picture(Path(found["png"]))
    return f"checkpoints {', '.join(row['checkpoint'] for row in rows)}, a table and a plot"


def _resume(trial: Trial) -> str:
    before = _steps(trial)
    _whet(
        ["resume", str(trial.run.path), "--additional-steps", "1"],
        f"try it by hand: whet resume {trial.run.path} --additional-steps 1",
    )
    if (after := _steps(trial)) != before + 1 or reader.state(trial.run) != "finished":
        raise _Failed(
            f"expected a finished run of {before + 1} steps, found {reader.state(trial.run)} at {after}",
            f"look at {trial.run.summary_file}",
        )
    again = (_checkpoints, _links, _log)
    for look in again:
        look(trial)
    return f"from step {before} to {after}; checkpoints, links and log go on without a gap"


CHECKS: tuple[tuple[str, Callable[[Trial], str]], ...] = (
    ("train", _train),
    ("config", _config),
    ("checkpoints", _checkpoints),
    ("links", _links),
    ("log", _log),
    ("rollouts", _rollouts),
    ("plot", _plot),
    ("evaluate", _evaluate),
    ("resume", _resume),
)


def _steps(trial: Trial) -> int:
    return int(trial.run.summary().get("steps", 0))


def _picture(path: Path) -> str:
    if not path.is_file() or not path.read_bytes().startswith(b"\x89PNG"):
        raise _Failed(
            f"{path} is not there, or is no PNG", "whet draws with matplotlib: python -c 'import matplotlib'"
        )
    return f"{path.name} is drawn"


def _whet(arguments: Sequence[str], advice: str) -> str:
    """What a command prints; raises `_Failed` with its last words when it fails."""
    process = child.start(
        [sys.executable, "-m", "whet", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
    )  # fmt: skip
    try:
        output, complaint = process.communicate()
    except BaseException:
        child.end([process], GRACE_S)
        raise
    if process.returncode:
        lines = complaint.strip().splitlines() or ["it said nothing"]
        errors = [n for n, line in enumerate(lines) if line.startswith("error: ")]
        words = " ".join(lines[errors[-1] if errors else -1 :]).removeprefix("error: ")
        raise _Failed(f"exit code {process.returncode}: {words}", advice)
    return str(output)
