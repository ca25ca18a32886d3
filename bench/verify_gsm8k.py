"""Checks the numeric verifier on every gold solution of GSM8K: gold scores full, corrupted gold never does.

    python bench/verify_gsm8k.py --path DIR        (DIR holds train.jsonl and test.jsonl)

Prints one JSON object and exits with 1 when anything is scored wrongly.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from whet.tasks.gsm8k import Gsm8k
from whet.types import Example
from whet.verifiers.numeric import Numeric

FORMATS = ("tags", "hash", "boxed")


def corrupted(answer: str) -> Iterator[tuple[str, str]]:
    """(kind, another number) for every corruption that changes the value of a whole number."""
    value, digits = int(answer), answer.lstrip("-")
    sign = answer.removesuffix(digits)
    candidates = {
        "plus_one": str(value + 1),
        "minus_one": str(value - 1),
        "sign_flipped": str(-value),
        "first_digit_dropped": sign + digits[1:],
        "last_digit_dropped": sign + digits[:-1],
        "digit_appended": answer + "0",
        "digit_prepended": f"{sign}1{digits}",
        "tenth": f"{sign}{digits[:-1] or 0}.{digits[-1]}",
    }
    for kind, text in candidates.items():
        if text not in ("", "-") and float(text) != value:
            yield kind, text


def texts(example: Example, answer: str) -> Iterator[tuple[str, str]]:
    """(way of writing, completion) with this answer, worked solution first where the format has one."""
    solution = example.columns["answer"].rpartition("####")[0].strip()
    yield "tags", f"<think>{solution}</think>\n<answer>{answer}</answer>"
    yield "hash", f"{solution}\n#### {answer}"
    yield "boxed", f"{solution}\nThe answer is \\boxed{{{answer}}}."
    yield "prose", f"{solution}\nSo the answer is ${answer}."
    yield "alone", answer


def completions(examples: list[Example]) -> Iterator[tuple[Example, str, str, str]]:
    """(example, kind, way of writing, text) of every gold and corrupted completion."""
    for example in examples:
        for kind, answer in [("gold", example.answer), *corrupted(example.answer)]:
            yield from ((example, kind, way, text) for way, text in texts(example, answer))


def check(examples: list[Example]) -> dict[str, object]:
    """Counts of gold and corrupted completions, and those that were scored wrongly."""
    verifier, counts, faults = Numeric(), Counter[str](), []
    for example, kind, way, text in completions(examples):
        counts[f"{kind}/{way}"] += 1
        if (verifier.score(text, example.answer).value == 1.0) != (kind == "gold"):
            faults.append(f"{kind}/{way} {example.id}: {text[-80:]!r} against {example.answer!r}")
    return {"checked": dict(counts), "total": counts.total(), "faults": faults}


def main() -> int:
    """Runs the check over both splits and the demonstrations of every format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True)
    path = parser.parse_args().path
    golds = {}
    for form in FORMATS:
        task = Gsm8k(path=path, format=form)
        examples = [*task.load("train"), *task.load("test")]
        golds[form] = sum(task.score(e, e.demonstration or "").value == 1.0 for e in examples)
    strict = Numeric(extract="strict")
    golds["strict"] = sum(strict.score(e.columns["answer"], e.answer).value == 1.0 for e in examples)
    report = {"examples": len(examples), "demonstrations_full": golds, **check(examples)}
    print(json.dumps(report, indent=2))
    return int(bool(report["faults"]) or any(n != len(examples) for n in golds.values()))


if __name__ == "__main__":
    sys.exit(main())
