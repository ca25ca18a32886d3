"""Samples per second of a whole GRPO step by whet and by TRL: same model, prompts, forced lengths and reward.

    .venv-peers/bin/python bench/step.py --size small [--lengths geometric] [--memory] [--json]

One core, one thread, float32, step by step in turn; whet in a process of its own, so that what one does to its process
is not done to the other. Before anything is timed, whet computes the gradient of TRL's first batch, and the report says
how far the two lie apart. `--memory` also measures the peak of each, above the loaded model.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learners import TRLStep, WhetStep
from speed_case import Case, add_options, write_checkpoint
from timing import (
    Spent,
    in_own_process,
    machine,
    markdown,
    one_core,
    report,
    resident_bytes,
    summary,
    times_faster,
)
from whet.types import RolloutGroup

CLOSE = 1e-4
"""How far apart the gradients may lie, relative to their norm."""


def main() -> None:
    """Prints a table, or one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--microbatch-tokens", type=int, help="of whet; default: its own")
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    parser.add_argument("--peak-of", choices=["whet", "trl"], help="measure nothing but the peak of one")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    one_core()
    case = Case.of(asked)
    if asked.peak_of:
        print(json.dumps(peak(asked.peak_of, case, asked.microbatch_tokens)))
        return
    found = measure(case, asked.repetitions, asked.microbatch_tokens)
    if asked.memory:
        found |= peaks(sys.argv[1:])
    report(f"step_{case.size}_{case.lengths}_{case.prompt_length}", found, table(found), asked.json)


def measure(case: Case, repetitions: int, microbatch_tokens: int | None) -> dict[str, Any]:
    """A step of each to warm up and to compare gradients, then steps in turn."""
    about = machine()
    times: dict[str, list[Spent]] = {"whet": [], "trl": []}
    checks: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory), case)
        whet = Elsewhere(Path(directory), case, microbatch_tokens)
        trl = TRLStep(Path(directory), case)

        def after(time: Spent) -> None:
            if not checks:
                checks["gradient_difference"] = gradient_difference(trl, whet)
                whet()
                return
            times["trl"].append(time)
            times["whet"].append(whet())
            print(f"  trl {time.wall_s:.2f} s, whet {times['whet'][-1].wall_s:.2f} s", file=sys.stderr)

        trl.run(Path(directory), 1 + repetitions, after)
        whet.close()
    sides = {name: summary(of, samples=case.num_rows) for name, of in times.items()}
    ratios = times_faster(sides["whet"], sides["trl"])
    return {
        "benchmark": "step",
        "ratio_samples_per_s": ratios["wall_s"],
        "ratio_samples_per_cpu_s": ratios["cpu_s"],
        "case": case.about(),
        "checks": checks,
        "sides": sides,
        "machine": about,
    }


class Elsewhere:
    """`WhetStep` in another process on the same core, which sleeps while it is not asked."""

    def __init__(self, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=answer, args=(theirs, *arguments), daemon=True)
        self._process.start()

    def __call__(self) -> Spent:
        """One step."""
        found: Spent = self._asked("step")
        return found

    def gradient(self, groups: Sequence[RolloutGroup]) -> dict[str, Tensor]:
        """The gradient of one update on some groups, by parameter."""
        return {name: torch.from_numpy(g) for name, g in self._asked("gradient", groups).items()}

    def close(self) -> None:
        """Ends the process."""
        self._pipe.send(None)
        self._process.join()

    def _asked(self, *question: Any) -> Any:
        self._pipe.send(question)
        return self._pipe.recv()


def answer(pipe: Any, *arguments: Any) -> None:
    """What `Elsewhere` asks, until it asks nothing more."""
    one_core()
    whet = WhetStep(*arguments)
    while (question := pipe.recv()) is not None:
        name, *of = question
        if name == "step":
            pipe.send(whet())
        else:
            pipe.send({name: g.numpy() for name, g in whet.gradient(*of).items()})


def gradient_difference(trl: TRLStep, whet: Elsewhere) -> float:
    """|whet - TRL| / |TRL| over all parameters, on the rollouts of TRL's first step. Exits above 1e-4."""
    theirs, ours = trl.first_gradient, whet.gradient(trl.groups())
    norm = sum(float(g.square().sum()) for g in theirs.values()) ** 0.5
    off = sum(float((ours[name] - g).square().sum()) for name, g in theirs.items()) ** 0.5
    if not norm or off / norm > CLOSE:
        sys.exit(f"whet's update does not do the same work: gradients of norm {norm} differ by {off}")
    trl.first_gradient = {"": next(iter(theirs.values()))[:0]}
    return off / norm


def peak(side: str, case: Case, microbatch_tokens: int | None) -> dict[str, float]:
    """The most memory that two steps hold above the loaded model, in bytes."""
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory), case)
        if side == "trl":
            import trl.trainer.grpo_trainer

            trl = TRLStep(Path(directory), case)
            trl.run(Path(directory), 2, lambda time: None)
            loaded = trl.loaded_bytes
        else:
            whet = WhetStep(Path(directory), case, microbatch_tokens)
            whet()
            whet()
            loaded = whet.loaded_bytes
        return {"loaded_bytes": loaded, "above_model_bytes": resident_bytes(peak=True) - loaded}


def peaks(arguments: Sequence[str]) -> dict[str, Any]:
    """Peak memory of each side, in processes of their own."""
    found = {s: in_own_process([__file__, *arguments, "--peak-of", s]) for s in ("whet", "trl")}
    above = {side: of["above_model_bytes"] for side, of in found.items()}
    return {"ratio_peak_rss": above["whet"] / above["trl"], "peak": found}


def table(found: dict[str, Any]) -> str:
    """Markdown: a side a row, parts of the CPU time beside the whole."""
    rows = []
    for name, side in found["sides"].items():
        parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in side["parts_cpu_s"].items())
        row = {
            "": name,
            "samples/s": side["samples_per_s"],
            "samples/cpu-s": side["samples_per_cpu_s"],
            "wall s": side["wall_s"]["median"],
            "min": side["wall_s"]["min"],
            "max": side["wall_s"]["max"],
            "cpu s": parts,
        }
        if "peak" in found:
            row["peak above the model, MB"] = found["peak"][name]["above_model_bytes"] / 1e6
        rows.append(row)
    case = found["case"]
    title = f"{case['size']}, {case['completions']} completions, {case['lengths']}, prompt {case['prompt_length']}"
    ratios = {name: round(value, 3) for name, value in found.items() if name.startswith("ratio")}
    return f"Step: {title}\n\n{markdown(rows)}\n\n{ratios}\n\n{found['checks']}"


if __name__ == "__main__":
    main()
