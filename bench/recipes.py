"""Puts common advice on settings to the test, on rungs of the ladder, over seeds; docs/recipes.md shows the tables.

    python bench/recipes.py [--seeds 3] [--only kl,rate] [--runs-root runs/recipes]

Each question is one `whet sweep`, so a second call goes on with what is missing. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RUNGS = ("ladder/pattern", "ladder/sums")
RATES = {"ladder/pattern": "1e-4,5e-4,2e-3,5e-3", "ladder/sums": "1e-4,6e-4,2e-3,5e-3"}
TOO_HIGH = {"ladder/pattern": "5e-3", "ladder/sums": "2e-3"}
GROUPS = (2, 4, 8, 32)


def arguments_of(question: str, rung: str) -> list[str]:
    """What `whet sweep` is called with."""
    if question == "generations":
        return [f"{rung}+{HERE / 'recipes' / f'groups_of_{size}.yaml'}" for size in GROUPS]
    if question == "kl_at_a_high_rate":
        return [rung, "--set", "algorithm.beta=0,0.01,0.1,0.3", f"optimizer.learning_rate={TOO_HIGH[rung]}"]
    setting = {
        "more": "batch.num_generations=4,8,32",
        "kl": "algorithm.beta=0,0.01,0.1",
        "rate": f"optimizer.learning_rate={RATES[rung]}",
        "temperature": "sampling.temperature=0.5,0.7,1.0,1.3",
        "std": "algorithm=dr_grpo,grpo",
    }[question]
    return [rung, "--set", setting]


def main() -> None:
    """Runs what is missing and prints a table per question and rung."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="kl,kl_at_a_high_rate,rate,generations,more,temperature,std")
    parser.add_argument("--runs-root", default="runs/recipes")
    asked = parser.parse_args()
    for question in asked.only.split(","):
        for rung in RUNGS:
            name = f"{question}_{Path(rung).name}"
            command = [sys.executable, "-m", "whet", "sweep", *arguments_of(question, rung)]
            command += ["--seeds", str(asked.seeds), "--name", name]
            done = subprocess.run(
                command, env={**os.environ, "WHET_RUNS": asked.runs_root}, capture_output=True, text=True
            )
            if done.returncode:
                print(f"{name}: {done.stderr.strip()[-400:]}", file=sys.stderr)
            found = Path(asked.runs_root) / f"sweep_{name}" / "results.json"
            print(table(json.loads(found.read_text(encoding="utf-8"))), flush=True)


def table(result: dict[str, Any]) -> str:
    """Markdown: accuracy of each setting, and its paired difference to the one with the highest."""
    best = result["ranked"][0]
    task = result["settings"][0]["eval_task"]
    rows = [f"| {task} | sampled | greedy | sampled, less `{best}` |", "|---|---|---|---|"]
    for setting in result["settings"]:
        name, found = setting["setting"], setting["metrics"]
        difference = "" if name == best else _difference(result["differences"][name])
        accuracies = " | ".join(_percent(found[metric]) for metric in ("pass@1", "greedy"))
        rows.append(f"| `{name}` | {accuracies} | {difference} |")
    return "\n".join(rows) + "\n"


def _percent(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.1%} [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"


def _difference(found: dict[str, Any]) -> str:
    """The sweep reports the best minus the other."""
    mean, low, high = (-100 * found[end] for end in ("value", "high", "low"))
    text = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if found["separated"] else text


if __name__ == "__main__":
    main()
