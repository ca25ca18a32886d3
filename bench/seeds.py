"""Runs one config over several seeds, one after the other, and prints held-out accuracy before and after as JSON.

python bench/seeds.py arithmetic --seeds 5 --runs-root runs/seeds [--plain]

With `--plain` every seed is also trained with nothing compiled and nothing packed, and the report has the paired
difference of what the two learned, with its 95% interval.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from whet.functional.statistics import confidence_interval

_PLAIN = (
    "-c",
    "import whet.policies.from_scratch as policy; policy.can_pack = lambda _: False\n"
    "from whet.cli import main; main()",
)
"""whet that pads its rows."""


def main() -> None:
    """Trains, reads each summary, prints a line per seed and the lowest accuracy after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", help="key.sub=value, handed to whet train")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--runs-root", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--plain", action="store_true", help="compare with runs without the fast paths")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    rows = [one(options.config, seed, options.runs_root, options.overrides) for seed in seeds]
    found = {"lowest_after": min(r["after"]["pass@1"] for r in rows), "seeds": rows}
    if options.plain:
        root = options.runs_root / "plain"
        plain = [one(options.config, seed, root, options.overrides, _PLAIN) for seed in seeds]
        found |= {
            "plain": plain,
            "fast_minus_plain": {k: paired(rows, plain, k) for k in ("pass@1", "greedy")},
        }
    print(json.dumps(found, indent=2))


def paired(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Mean difference of a final accuracy over seeds, with the 95% interval of Student's t."""
    differences = [a["after"][name] - b["after"][name] for a, b in zip(ours, theirs, strict=True)]
    found = confidence_interval(differences, range(len(differences)))
    return {"mean": found.mean, "low": found.low, "high": found.high, "differences": differences}


def one(
    config: str, seed: int, root: Path, overrides: list[str], program: tuple[str, ...] = ("-m", "whet")
) -> dict[str, Any]:
    """The summary of one seed, trained in a process of its own."""
    where = root / f"seed_{seed}"
    command = [sys.executable, *program, "train", config, f"seed={seed}", f"runs_root={where}", *overrides]
    environment = os.environ | ({"WHET_COMPILE": "0"} if program == _PLAIN else {})
    subprocess.run([*command, "--quiet"], check=True, stdout=sys.stderr, env=environment)
    run = max(where.glob("run_*"))
    summary = json.loads((run / "summary.json").read_text())
    return {"seed": seed, "wall_s": summary["wall_s"], **summary["eval"]}


if __name__ == "__main__":
    main()
