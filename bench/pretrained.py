"""A tiny pretrained policy learns sums, whole and through LoRA, over seeds: held-out accuracy before and after.

    python bench/pretrained.py [--seeds 3] [--runs-root runs/pretrained]

Each seed has a checkpoint of random weights and one warm start; both kinds of RL begin with its result.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path
from unittest import mock

import whet

EXAMPLE = Path(__file__).parents[1] / "examples" / "tiny_checkpoint.py"


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs-root", default="runs/pretrained")
    asked = parser.parse_args()
    print("| seed | trained | sampled before | sampled after | greedy before | greedy after | wall, s |")
    print("|---|---|---|---|---|---|---|")
    for seed in range(asked.seeds):
        checkpoint = Path(asked.runs_root) / f"checkpoint_{seed}"
        sizes = ["--width", "128", "--vocab-size", "300", "--seed", str(seed)]
        with mock.patch.object(sys, "argv", [str(EXAMPLE), str(checkpoint), "--family", "qwen2", *sizes]):
            runpy.run_path(str(EXAMPLE), run_name="__main__")
        shared = {"seed": seed, "runs_root": asked.runs_root, "trackers": ["jsonl"]}
        whole = whet.train("tiny_qwen2", f"policy.model={checkpoint}", **shared)
        print(row(seed, "all", whole), flush=True)
        start = whole.path / "training_state" / "step_000000" / "model"
        adapters = ["warm_start=null", "policy.lora.r=16", "optimizer.learning_rate=3e-3"]
        print(
            row(seed, "LoRA, r 16", whet.train("tiny_qwen2", f"policy.model={start}", *adapters, **shared)),
            flush=True,
        )


def row(seed: int, what: str, run: whet.Run) -> str:
    """One line of the table."""
    before, after = run.summary["eval"]["before"], run.summary["eval"]["after"]
    cells = [accuracy(before, "pass@1", "ci95"), accuracy(after, "pass@1", "ci95")]
    cells += [accuracy(before, "greedy", "greedy_ci95"), accuracy(after, "greedy", "greedy_ci95")]
    return f"| {seed} | {what} | {' | '.join(cells)} | {run.summary['wall_s']:.0f} |"


def accuracy(found: dict[str, float], name: str, ends: str) -> str:
    """A share with its interval."""
    low, high = found[ends]  # type: ignore[misc]
    return f"{found[name]:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
