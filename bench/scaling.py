"""How whet's step grows with the batch, how much memory it takes, and how near it comes to what the machine can do.

    python bench/scaling.py --size tiny [--most 1024] [--microbatch-tokens 4096] [--json]
    python bench/scaling.py --vocabulary [--json]
    python bench/scaling.py --roof --size base [--json]

The first: time per completion from 64 completions a step on, in turn, and the peak memory of each in a process of its
own. `--vocabulary`: the peaks at 151,936 tokens. `--roof`: the arithmetic of decoding and of the update over its time,
as a share of the matrix products and of the memory traffic that this machine reached in the same run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch

from learners import WhetStep
from speed_case import Case, add_options, write_checkpoint
from timing import (
    forget_peak,
    in_own_process,
    machine,
    markdown,
    one_core,
    report,
    resident_bytes,
    spent,
    summary,
    take_turns,
)

FIRST = 64
"""Completions per step of the smallest batch."""
VOCABULARY = 151_936
"""Of Qwen2 and its descendants."""


def main() -> None:
    """Prints a table, or one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--most", type=int, default=1024, help="completions per step of the largest batch")
    parser.add_argument("--microbatch-tokens", type=int, default=4096)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--vocabulary", action="store_true", help="memory at 151,936 tokens, nothing else")
    parser.add_argument("--roof", action="store_true", help="shares of the machine's limits, nothing else")
    parser.add_argument("--peak", action="store_true", help="the peaks of this one case, as JSON")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    one_core()
    case = Case.of(asked)
    if asked.peak:
        print(json.dumps(peaks(case, asked.microbatch_tokens)))
    elif asked.vocabulary:
        found = vocabulary(asked)
        report("scaling_vocabulary", found, table(found), asked.json)
    elif asked.roof:
        found = roof(case, asked.repetitions)
        report(f"roof_{case.size}_{case.lengths}", found, markdown(found["shares"]), asked.json)
    else:
        found = growth(case, asked)
        report(f"scaling_{case.size}_{case.lengths}", found, table(found), asked.json)


def batches(most: int) -> list[int]:
    """64, 128, 256, ... completions per step."""
    return list(takewhile(lambda n: n <= most, (FIRST * 2**i for i in range(20))))


def growth(case: Case, asked: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of each batch."""
    about = machine()
    cases = {n: replace(case, completions=n) for n in batches(asked.most)}
    times = step_times(list(cases.values()), asked)
    rows = [
        {"completions": n, "ms_per_completion": 1000 * t / n, **peak_in_own_process(cases[n], asked)}
        for n, t in zip(cases, times, strict=True)
    ]
    per = [row["ms_per_completion"] for row in rows]
    return {
        "benchmark": "scaling",
        "time_rise": max(per) / per[0],
        **memory_rises(rows),
        "case": case.about(),
        "microbatch_tokens": asked.microbatch_tokens,
        "rows": rows,
        "machine": about,
    }


def step_times(cases: Sequence[Case], asked: argparse.Namespace) -> list[float]:
    """Median CPU seconds of a step of each case, in turn, after one to warm up."""
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory), cases[0])
        steps = {str(c.num_rows): WhetStep(Path(directory), c, asked.microbatch_tokens) for c in cases}
        for step in steps.values():
            step()
        times = take_turns(steps, asked.repetitions)
    return [summary(runs)["cpu_s"]["median"] for runs in times.values()]


def vocabulary(asked: argparse.Namespace) -> dict[str, Any]:
    """Memory of growing batches at a vocabulary that dwarfs the rest of the model."""
    about = machine()
    case = Case(size="micro", vocab_size=VOCABULARY, completion_length=32, prompt_length=16)
    rows = [
        {"completions": n, **peak_in_own_process(replace(case, completions=n), asked)}
        for n in batches(asked.most)
    ]
    return {
        "benchmark": "vocabulary",
        **memory_rises(rows),
        "case": case.about(),
        "microbatch_tokens": asked.microbatch_tokens,
        "rows": rows,
        "machine": about,
    }


def memory_rises(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The greatest peak over that of the smallest batch."""
    names = ("generation_bytes", "update_bytes")
    found = {f"{n.partition('_')[0]}_memory_rise": max(r[n] for r in rows) / rows[0][n] for n in names}
    peak = [max(row[n] for n in names) for row in rows]
    return {"memory_rise": max(peak) / peak[0], **found}


def peak_in_own_process(case: Case, asked: argparse.Namespace) -> dict[str, float]:
    """`peaks` of a fresh process: a peak that once was leaves its mark on the heap."""
    options = {name.replace("_", "-"): getattr(case, name) for name in Case.__slots__}
    options["microbatch-tokens"] = asked.microbatch_tokens
    return in_own_process([__file__, "--peak", *(f"--{n}={v}" for n, v in options.items())])


def peaks(case: Case, microbatch_tokens: int) -> dict[str, float]:
    """The most memory, above the loaded model, that generation and update hold in the second step, in bytes."""
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory), case)
        step = WhetStep(Path(directory), case, microbatch_tokens)
        step()
        forget_peak()
        groups = step.generate()
        generation = resident_bytes(peak=True) - step.loaded_bytes
        forget_peak()
        step.update(groups)
        update = resident_bytes(peak=True) - step.loaded_bytes
        return {"generation_bytes": generation, "update_bytes": update, "loaded_bytes": step.loaded_bytes}


def table(found: dict[str, Any]) -> str:
    """Markdown: a batch a row."""
    rises = {name: round(value, 3) for name, value in found.items() if name.endswith("_rise")}
    return f"{markdown(found['rows'])}\n\n{rises}"


def roof(case: Case, repetitions: int) -> dict[str, Any]:
    """Decode and update beside the machine's matrix products and memory, all in CPU seconds."""
    about = machine()
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory), case)
        step = WhetStep(Path(directory), case)
        groups = step.generate()
        step.update(groups)
        turns = {
            "decode": lambda: spent(step.generate),
            "update": lambda: spent(lambda: step.update(groups)),
        }
        rates = [(gemm_rate(), read_rate())]
        times = take_turns(turns, repetitions)
        rates.append((gemm_rate(), read_rate()))
    flops_per_s, bytes_per_s = (max(pair) for pair in zip(*rates, strict=True))
    work = {"decode": decode_work(case), "update": (update_flop(case), 0.0)}
    shares = [
        share(name, summary(times[name])["cpu_s"]["median"], *work[name], flops_per_s, bytes_per_s)
        for name in work
    ]
    return {
        "benchmark": "roof",
        "gflop_per_s": flops_per_s / 1e9,
        "gbyte_per_s": bytes_per_s / 1e9,
        "case": case.about(),
        "shares": shares,
        "machine": about,
    }


def share(name: str, seconds: float, flop: float, bytes_: float, *rates: float) -> dict[str, Any]:
    """How much of the time the arithmetic alone, and arithmetic and traffic together, would have taken."""
    flop_s, bytes_s = flop / rates[0], bytes_ / rates[1]
    return {
        "part": name,
        "cpu_s": seconds,
        "gflop": flop / 1e9,
        "gbyte": bytes_ / 1e9,
        "of_gemm_roof": flop_s / seconds,
        "of_flop_and_bytes": (flop_s + bytes_s) / seconds,
    }


def decode_work(case: Case) -> tuple[float, float]:
    """FLOP and bytes of sampling: 2 per weight and token, weights once a step where no cache holds them, and all keys
    and values before each token. A prompt is computed once; the last token of a completion is never fed."""
    size, lengths = case.model, case.forced()
    fed = case.num_prompts * case.prompt_length + sum(lengths) - len(lengths)
    flop = 2 * size.body * fed + 2 * size.head * sum(lengths)
    weights = 4 * (size.body + size.head)
    steps = max(lengths) if weights > cache_bytes() else 0
    read = sum((n - 1) * (case.prompt_length + n / 2) for n in lengths)
    return flop, steps * weights + read * size.kv_bytes


def update_flop(case: Case) -> float:
    """6 per weight and token, forward and backward: the body over prompts and what was fed, the head over targets."""
    size, lengths = case.model, case.forced()
    fed = case.num_prompts * case.prompt_length + sum(lengths) - len(lengths)
    return 6 * size.body * fed + 6 * size.head * sum(lengths)


def gemm_rate(width: int = 2048, repetitions: int = 15) -> float:
    """FLOP per second of the fastest of some float32 products of square matrices."""
    a, b = torch.randn(width, width), torch.randn(width, width)
    return 2 * width**3 / fastest(lambda: a @ b, repetitions)


def read_rate(megabytes: int = 256, repetitions: int = 9) -> float:
    """Bytes per second at which a sum reads memory that no cache holds."""
    numbers = torch.ones(megabytes * 2**18)
    return 4 * numbers.numel() / fastest(numbers.sum, repetitions)


def fastest(call: Callable[[], Any], repetitions: int) -> float:
    """The least CPU seconds of a call."""
    return min(spent(call).cpu_s for _ in range(repetitions))


def cache_bytes() -> int:
    """Size of the largest cache that Linux names; 32 MiB elsewhere."""
    files = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    sizes = [int(file.read_text(encoding="utf-8").strip().rstrip("K")) * 1024 for file in files]
    return max(sizes, default=32 * 2**20)


if __name__ == "__main__":
    main()
