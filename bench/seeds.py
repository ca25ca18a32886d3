"""Runs one config over several seeds, one after the other, and prints held-out accuracy before and after as JSON.

python bench/seeds.py arithmetic --seeds 5 --runs-root runs/seeds
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Trains, reads each summary, prints a line per seed and the lowest accuracy after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", help="key.sub=value, handed to whet train")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--runs-root", type=Path, default=Path("runs/seeds"))
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    rows = [one(options.config, seed, options.runs_root, options.overrides) for seed in seeds]
    print(json.dumps({"lowest_after": min(r["after"]["pass@1"] for r in rows), "seeds": rows}, indent=2))


def one(config: str, seed: int, root: Path, overrides: list[str]) -> dict[str, object]:
    """The summary of one seed, trained in a process of its own."""
    where = root / f"seed_{seed}"
    command = [
        sys.executable,
        "-m",
        "whet",
        "train",
        config,
        f"seed={seed}",
        f"runs_root={where}",
        *overrides,
    ]
    subprocess.run([*command, "--quiet"], check=True, stdout=sys.stderr)
    run = max(where.glob("run_*"))
    summary = json.loads((run / "summary.json").read_text())
    return {"seed": seed, "wall_s": summary["wall_s"], **summary["eval"]}


if __name__ == "__main__":
    main()
