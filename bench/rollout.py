"""Tokens per second of whet's engine and of others, on one model, the same prompts and the same lengths.

    python bench/rollout.py --size small [--lengths geometric] [--repetitions 3] [--json]
    python bench/rollout.py --size small --vllm-python DIR/bin/python

One core, one thread, float32, everyone in turn. Before anything is timed, whet's greedy tokens are compared with those
of `generate`, and its sampled log-probabilities with a fresh forward pass; the report says how they compare.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM

from generators import VLLM, Rows, generate, peers_of
from speed_case import Case, ForcedLengths, add_options, load_policy, write_checkpoint
from timing import Spent, machine, markdown, one_core, report, spent, summary, take_turns, times_faster
from whet.engines.native import Native
from whet.policies.huggingface import HuggingFacePolicy
from whet.types import Completion

BASE = "generate"
"""Ratios are over this one."""
CLOSE = 1e-5
"""Two logits that are closer than this may change places by rounding."""


def main() -> None:
    """Prints a table, or one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--peers", default="generate,generate_static,continuous_batching")
    parser.add_argument("--vllm-python", help="the Python of an environment with vllm")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    one_core()
    peers = [BASE, *(name for name in asked.peers.split(",") if name not in ("", BASE))]
    case = Case.of(asked)
    found = measure(case, asked.repetitions, peers, asked.vllm_python)
    report(f"rollout_{case.size}_{case.lengths}", found, table(found), asked.json)


def measure(
    case: Case, repetitions: int, peers: Sequence[str], vllm_python: str | None = None
) -> dict[str, Any]:
    """Checks, then times every engine in turn."""
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory), case)
        policy, theirs = load_policy(Path(directory)), load_theirs(Path(directory))
        before = machine()
        vllm = VLLM(vllm_python, Path(directory), case) if vllm_python else None
        checks = compared(policy, case)
        others = peers_of(theirs, case, peers)
        warm(policy, theirs, case, peers)
        runs = {"whet": timed(lambda: whet_rows(policy, case), case)}
        runs |= {name: timed(run, case) for name, run in others.items()}
        runs |= {"vllm": vllm} if vllm else {}
        times = take_turns(runs, repetitions)
        if vllm:
            before["vllm"] = vllm.about["version"]
            vllm.close()
    engines = {name: summary(of, tokens=sum(case.forced())) for name, of in times.items()}
    ratios = {name: times_faster(engines["whet"], engines[name]) for name in engines if name != "whet"}
    return {
        "benchmark": "rollout",
        "ratio_tokens_per_s": ratios[BASE]["wall_s"],
        "ratio_tokens_per_cpu_s": ratios[BASE]["cpu_s"],
        "case": case.about(),
        "checks": checks,
        "ratios": ratios,
        "engines": engines,
        "machine": before,
    }


def timed(run: Callable[[], Rows], case: Case) -> Callable[[], Spent]:
    """A run that is timed, and whose completions have the forced lengths."""

    def turn() -> Spent:
        made: list[Rows] = []
        time = spent(lambda: made.append(run()))
        lengths = [len(row) for row in made[0]]
        assert lengths == case.forced(), "the completions have other lengths than were forced"
        return time

    return turn


def completions(policy: HuggingFacePolicy, case: Case, temperature: float = 1.0) -> list[Completion]:
    """What whet's engine makes of the case, row by row."""
    engine = ForcedLengths(Native().build(policy), case.forced())
    made = engine.generate(case.requests(), case.params(temperature))
    return sorted(made, key=lambda c: (c.request, c.sample))


def whet_rows(policy: HuggingFacePolicy, case: Case) -> Rows:
    """Its token ids."""
    return [list(c.token_ids) for c in completions(policy, case)]


def load_theirs(directory: Path) -> Any:
    """The model as transformers loads it, with attention of its own."""
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()


def warm(policy: HuggingFacePolicy, theirs: Any, case: Case, peers: Sequence[str]) -> None:
    """Lets everyone load and allocate what it does once, on completions of four tokens."""
    short = replace(case, completion_length=4, lengths="uniform")
    whet_rows(policy, short)
    for run in peers_of(theirs, short, peers).values():
        run()


def compared(policy: HuggingFacePolicy, case: Case) -> dict[str, Any]:
    """How whet's greedy tokens compare with those of `generate`, and its log-probabilities with a forward pass.

    Two rows may part where the two highest logits are closer than 1e-5. Exits when they part elsewhere, or when a
    log-probability is off by 1e-5 or more.
    """
    ours = [list(c.token_ids) for c in completions(policy, case, temperature=0.0)]
    theirs = generate(policy.module, case, do_sample=False, temperature=None, top_k=None)
    parted = [
        (i, first_difference(a, b)) for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b
    ]
    gaps = [top_gap(policy, case.row_prompts()[i] + ours[i][:at]) for i, at in parted]
    sampled = completions(policy, case)
    worst = logprob_gap(policy, case.row_prompts(), sampled)
    found = {
        "greedy_rows": len(ours),
        "greedy_rows_equal": len(ours) - len(parted),
        "greedy_rows_parted_at_a_tie": sum(gap < CLOSE for gap in gaps),
        "tie": CLOSE,
        "logprob_gap_max": worst,
    }
    if any(gap >= CLOSE for gap in gaps) or worst >= CLOSE:
        sys.exit(f"whet's engine does not do the same work: {found}")
    return found


def first_difference(a: Sequence[int], b: Sequence[int]) -> int:
    """The first position where two lists differ."""
    return next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)


@torch.no_grad()
def top_gap(policy: HuggingFacePolicy, token_ids: Sequence[int]) -> float:
    """How far the two highest logits after a text lie apart."""
    logits = policy.module(input_ids=torch.tensor([token_ids])).logits[0, -1]
    first, second = logits.topk(2).values.tolist()
    return float(first - second)


@torch.no_grad()
def logprob_gap(
    policy: HuggingFacePolicy, prompts: Sequence[Sequence[int]], made: Sequence[Completion]
) -> float:
    """The largest difference between recorded log-probabilities and those of transformers' own forward pass."""
    gaps = []
    for start in range(0, len(made), 8):
        rows = list(zip(prompts, made, strict=True))[start : start + 8]
        ids = padded([torch.tensor([*prompt, *c.token_ids]) for prompt, c in rows])
        logprobs = policy.module(input_ids=ids).logits.log_softmax(-1)[:, :-1]
        for row, (prompt, c) in zip(logprobs.gather(2, ids[:, 1:, None])[..., 0], rows, strict=True):
            span = slice(len(prompt) - 1, len(prompt) - 1 + len(c.token_ids))
            gaps.append(float((row[span] - torch.tensor(c.logprobs)).abs().max()))
    return max(gaps)


def padded(rows: Sequence[Tensor]) -> Tensor:
    """Rows of ids as one tensor, zeros on the right."""
    return pad_sequence(list(rows), batch_first=True)


def table(found: dict[str, Any]) -> str:
    """Markdown: an engine a row."""
    rows = [
        {
            "engine": name,
            "tokens/s": engine["tokens_per_s"],
            "tokens/cpu-s": engine["tokens_per_cpu_s"],
            "wall s": engine["wall_s"]["median"],
            "min": engine["wall_s"]["min"],
            "max": engine["wall_s"]["max"],
            "whet is faster by (wall)": found["ratios"].get(name, {}).get("wall_s", 1.0),
            "(cpu)": found["ratios"].get(name, {}).get("cpu_s", 1.0),
        }
        for name, engine in found["engines"].items()
    ]
    case = found["case"]
    title = f"{case['size']}, {case['completions']} completions, {case['lengths']}, {case['tokens']} tokens"
    return f"Rollout: {title}\n\n{markdown(rows)}\n\n{found['checks']}"


if __name__ == "__main__":
    main()
