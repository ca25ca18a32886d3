"""Seconds until something happens: whet's commands, its first step, and its trainer beside TRL's, in turn.

    python bench/startup.py [--repetitions 5] [--peers-python .venv-peers/bin/python] [--json]

Each is a fresh process; `python` is the bare interpreter, which the others contain. `ready` is all that comes before
the first step on the 0.85 million model: imports, model, engine and optimizer here, `GRPOTrainer` there.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from timing import Spent, machine, markdown, one_core, report, summary, take_turns, times_faster

ROOT = Path(__file__).parents[1]
FIRST_STEP = (
    *("arithmetic", "max_steps=1", "num_threads=1", "save_every=0"),
    *("eval.at_start=false", "eval.at_end=false", "warm_start=null", "trackers=[jsonl]"),
)


def main() -> None:
    """Prints a table, or one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--peers-python", type=Path, default=ROOT / ".venv-peers" / "bin" / "python")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ready", choices=["whet", "trl"], help="get ready and end, with this model:")
    parser.add_argument("--checkpoint", type=Path)
    asked = parser.parse_args()
    one_core()
    if asked.ready:
        {"whet": whet_ready, "trl": trl_ready}[asked.ready](asked.checkpoint)
        return
    found = measure(asked.repetitions, asked.peers_python if asked.peers_python.exists() else None)
    report("startup", found, table(found), asked.json)


def measure(repetitions: int, peers_python: Path | None) -> dict[str, Any]:
    """Every command in turn, after one turn to warm the file cache."""
    from speed_case import Case, write_checkpoint

    about = machine()
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory) / "model", Case())
        environment = compiled_once(Path(directory) / "bytecode")
        runs = {n: process(of, environment) for n, of in commands(Path(directory), peers_python).items()}
        take_turns(runs, 1)
        times = take_turns(runs, repetitions)
        build = engine_build(Path(directory) / "model", repetitions)
    found = {name: summary(of) for name, of in times.items()}
    ready = {}
    if peers_python:
        ready["ratio_ready"] = times_faster(found["whet ready"], found["trl ready"])["wall_s"]
    return {"benchmark": "startup", **ready, "engine_build": build, "commands": found, "machine": about}


def commands(directory: Path, peers_python: Path | None) -> dict[str, list[str]]:
    """What is started, by name."""
    here = [__file__, f"--checkpoint={directory / 'model'}", "--ready"]
    found = {
        "python": ["-c", "pass"],
        "whet --help": ["-m", "whet", "--help"],
        "import whet": ["-c", "import whet"],
        "first step": ["-m", "whet", "train", *FIRST_STEP, f"runs_root={directory / 'runs'}", "--quiet"],
        "whet ready": [*here, "whet"],
    }
    ours = {name: [sys.executable, *arguments] for name, arguments in found.items()}
    return ours | ({"trl ready": [str(peers_python), *here, "trl"]} if peers_python else {})


def compiled_once(directory: Path) -> dict[str, str]:
    """An environment in which Python keeps the bytecode of what it imports, as it does unless told otherwise."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(directory)}


def process(command: Sequence[str], environment: dict[str, str]) -> Callable[[], Spent]:
    """A process from start to end, its CPU time included."""

    def run() -> Spent:
        before, start = _children(), time.perf_counter()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, env=environment, **quiet)
        return Spent(time.perf_counter() - start, _children() - before, {})

    return run


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def engine_build(checkpoint: Path, repetitions: int) -> dict[str, Any]:
    """Building the engine of a loaded policy."""
    from speed_case import load_policy
    from timing import spent
    from whet.engines.native import Native

    policy = load_policy(checkpoint)
    return summary([spent(lambda: Native().build(policy)) for _ in range(repetitions)])


def whet_ready(checkpoint: Path) -> None:
    """Builds what a step needs."""
    from learners import WhetStep
    from speed_case import Case

    WhetStep(checkpoint, Case())


def trl_ready(checkpoint: Path) -> None:
    """Builds what a step needs."""
    from learners import TRLStep
    from speed_case import Case

    TRLStep(checkpoint, Case()).trainer(checkpoint, steps=1)


def table(found: dict[str, Any]) -> str:
    """Markdown: a command a row."""
    every = {**found["commands"], "engine build": found["engine_build"]}
    rows = [
        {
            "": name,
            "wall s": of["wall_s"]["median"],
            "min": of["wall_s"]["min"],
            "max": of["wall_s"]["max"],
            "cpu s": of["cpu_s"]["median"],
        }
        for name, of in every.items()
    ]
    return f"{markdown(rows)}\n\nratio_ready {found.get('ratio_ready', 'not measured')}"


if __name__ == "__main__":
    main()
