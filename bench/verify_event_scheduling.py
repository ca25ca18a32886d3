"""Checks schedules on every row of a data set: the best one scores full, and none that breaks a rule does.

    python bench/verify_event_scheduling.py --path DIR        (DIR holds NAME.train.jsonl and NAME.test.jsonl)

Loading compares the best schedule's minutes with the row's `optimal_score`. Prints one JSON object and exits with 1
when anything is scored wrongly.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from whet.tasks.event_scheduling import EventScheduling
from whet.text.schedules import Event, best_schedule, written
from whet.types import Example
from whet.verifiers.event_scheduling import events_of


def completions(example: Example) -> Iterator[tuple[str, str, float]]:
    """(kind, text, the value that it must not be above)."""
    events, priorities = events_of(example)
    best = best_schedule(events, priorities)
    stranger = Event("Sleep", "00:00", "24:00")
    yield "best", written(best), 1.0
    yield "best_behind_thoughts", f"<think>{written(events)}</think>\n{written(best)}", 1.0
    yield "empty", "<schedule></schedule>", 0.0
    yield "list", "\n".join(e.name for e in best), 0.0
    yield "twelve_hours", written(best).replace("</start>", " am</start>"), 0.0
    yield "stranger", written([stranger]), 0.1
    yield "stranger_too", written([*best, stranger]), 0.1
    yield "twice", written([*best, best[-1]]), 0.1
    yield "longer", written([best[0]._replace(end="24:00")]), 0.1
    if len(best) > 1:
        yield "backwards", written(best[::-1]), 0.2
    if len(best) < len(events):
        yield "everything", written(sorted(events, key=lambda e: e.start)), 0.2
        yield "priorities_alone", written([e for e in best if e.name in priorities][:1] or best[:1]), 1.0


def check(task: EventScheduling, examples: Sequence[Example]) -> dict[str, object]:
    """How often each kind came, the mean of its values, and what was scored wrongly."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    faults = []
    for example in examples:
        for kind, text, most in completions(example):
            value = task.score(example, text).value
            values[kind].append(value)
            if value > most + 1e-9 or (kind.startswith("best") and value != 1.0):
                faults.append(f"{kind} {example.id}: {value}")
    means = {kind: round(sum(found) / len(found), 4) for kind, found in values.items()}
    counts = Counter({kind: len(found) for kind, found in values.items()})
    return {"checked": dict(counts), "mean_value": means, "total": counts.total(), "faults": faults}


def main() -> int:
    """Runs the check over both splits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True)
    task = EventScheduling(path=parser.parse_args().path)
    examples = [*task.load("train"), *task.load("test")]
    report = {"examples": len(examples), **check(task, examples)}
    print(json.dumps(report, indent=2))
    return int(bool(report["faults"]))


if __name__ == "__main__":
    sys.exit(main())
