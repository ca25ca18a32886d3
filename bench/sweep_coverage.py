"""How often the intervals of a sweep hold the truth, and how often one of equal settings is called best, as JSON.

    python bench/sweep_coverage.py [--trials 1000]

Normal effects: 3 seeds x 60 problems, problems and noise of spread 1, seeds of the spread shown. For the second figure
every setting has its own seeds and noise, and all share the problems; the one with the highest mean is held against the
next one.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

from whet.functional.statistics import confidence_interval, crossed_difference, crossed_interval

SEEDS, PROBLEMS = 3, 60


def main() -> None:
    """Prints the shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    random = np.random.default_rng(0)
    held = {f"seed spread {s}": coverage(random, s, trials) for s in (0.0, 0.1, 0.3, 1.0)}
    best = {f"{n} equal settings": called_best(random, n, trials) for n in (2, 4, 8)}
    json.dump({"trials": trials, "held the truth": held, "called best": best}, sys.stdout, indent=2)
    print()


def coverage(random: np.random.Generator, spread: float, trials: int) -> dict[str, float]:
    """Shares of the trials in which each interval holds 0."""
    hits = dict.fromkeys(("seeds and problems", "problems alone", "seeds alone"), 0)
    for _ in range(trials):
        rows = table(random, spread, random.normal(size=PROBLEMS))
        found = {
            "seeds and problems": crossed_interval(rows.tolist()),
            "problems alone": confidence_interval(rows.mean(0).tolist(), range(PROBLEMS)),
            "seeds alone": confidence_interval(rows.mean(1).tolist(), range(SEEDS)),
        }
        for name, interval in found.items():
            hits[name] += interval.low <= 0 <= interval.high
    return {name: count / trials for name, count in hits.items()}


def called_best(random: np.random.Generator, settings: int, trials: int) -> float:
    """The share of trials in which the first is separated from the second, although all are equal."""
    count = 0
    for _ in range(trials):
        problems = random.normal(size=PROBLEMS)
        tables = sorted((table(random, 0.3, problems) for _ in range(settings)), key=np.mean, reverse=True)
        count += crossed_difference(tables[0].tolist(), tables[1].tolist()).low > 0
    return count / trials


def table(random: np.random.Generator, spread: float, problems: np.ndarray) -> np.ndarray:
    """Values `[seeds, problems]` whose true mean is 0."""
    return spread * random.normal(size=(SEEDS, 1)) + problems + random.normal(size=(SEEDS, PROBLEMS))


if __name__ == "__main__":
    main()
