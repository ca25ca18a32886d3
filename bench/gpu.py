"""What whet does on a GPU: decode against the bandwidth of the card, a whole step beside TRL, and how full memory is.

    python bench/gpu.py [ceilings decode step memory] [--out DIR] [--sizes 0.5b,1.5b] [--rows 64,256,1024]

Models have the shapes of Qwen2.5 and random weights, in bf16. Each part measures what it is held against in the same
run. Without a name all parts run, in about five minutes on a large card; `--device cpu --sizes micro` is a trial.
TRL has to be installed for `step` (`--no-trl` leaves it out).
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from learners import TRLStep, WhetStep
from speed_case import Case, endless, random_model
from timing import RESULTS, machine, markdown
from whet.config import load_config
from whet.engines.native import Native
from whet.policies.huggingface import HuggingFace, HuggingFacePolicy
from whet.training.budget import gpu_budget
from whet.training.footprint import footprint
from whet.training.forecast import Sizes

PROMPT = 64
PARTS = ("ceilings", "decode", "step", "memory")


def main() -> None:
    """Runs the parts that are named, prints their tables and writes `gpu_PART.json` and `.md`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--sizes", default="0.5b,1.5b", help="the first one takes the step, the last fills memory"
    )
    parser.add_argument("--rows", default="64,256,1024")
    parser.add_argument("--tokens", type=int, default=128, help="of each completion that is decoded")
    parser.add_argument("--no-trl", action="store_true")
    parser.add_argument("--out", type=Path, help="a second place for the results")
    asked = parser.parse_args()
    card = Card(torch.device(asked.device))
    sizes, rows = asked.sizes.split(","), [int(n) for n in asked.rows.split(",")]
    run: dict[str, Callable[[], dict[str, Any]]] = {
        "ceilings": lambda: ceilings(card),
        "decode": lambda: decode(card, sizes, rows, asked.tokens),
        "step": lambda: step(card, sizes[0], rows[-1] // 2, with_trl=not asked.no_trl),
        "memory": lambda: memory(card, sizes[-1]),
    }
    for part in asked.parts or PARTS:
        begun = time.perf_counter()
        try:
            found = run[part]()
        except (
            RuntimeError,
            ValueError,
            AttributeError,
            ImportError,
        ) as error:  # the other parts are still measured
            print(f"{part} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            continue
        found |= {"part": part, "seconds": time.perf_counter() - begun, "machine": machine() | card.about()}
        write(found, asked.out)


def write(found: dict[str, Any], out: Path | None) -> None:
    """Prints the table of a part and keeps it."""
    table = f"{found['part']}\n\n{markdown(found['rows'])}\n\n" + ", ".join(
        f"{k} {v}" for k, v in found["machine"].items()
    )
    print(table, flush=True)
    for directory in (RESULTS, out):
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"gpu_{found['part']}.json").write_text(
                json.dumps(found, indent=2) + "\n", encoding="utf-8"
            )
            (directory / f"gpu_{found['part']}.md").write_text(table + "\n", encoding="utf-8")


def ceilings(card: Card) -> dict[str, Any]:
    """Bytes per second of a copy, read and written, and FLOP per second of a large product."""
    return {"rows": [{"copy TB/s": card.bandwidth() / 1e12, "bf16 product TFLOP/s": card.products() / 1e12}]}


def decode(card: Card, sizes: list[str], rows: list[int], tokens: int) -> dict[str, Any]:
    """Tokens per second of the engine, 8 samples a prompt, against the bytes that a step must read."""
    rate, found = card.bandwidth(), []
    for size in sizes:
        policy = card.policy(Case(size=size, completion_length=tokens))
        for n in rows:
            case = Case(
                size=size, prompt_length=PROMPT, completion_length=tokens, completions=n, lengths="equal"
            )
            engine = Native(max_rows=n).build(policy)

            def run(engine: Any = engine, case: Case = case) -> int:
                return sum(len(c.token_ids) for c in engine.generate(case.requests(), case.params()))

            run(), run()  # the first runs each shape once, the second records it
            seconds = min(card.timed(run), card.timed(run))
            floor = step_bytes(case) / rate
            found.append(
                {
                    "model": size,
                    "rows": case.num_rows,
                    "tokens/s": case.num_rows * tokens / seconds,
                    "ms a step": 1e3 * seconds / tokens,
                    "floor ms": 1e3 * floor,
                    "share of floor": floor * tokens / seconds,
                }
            )
            print(f"  {found[-1]}", file=sys.stderr, flush=True)
            del engine, run
            card.free()
        del policy
        card.free()
    return {"rows": found, "bandwidth": rate, "prompt": PROMPT, "tokens": tokens}


def step(card: Card, size: str, rows: int, with_trl: bool) -> dict[str, Any]:
    """Seconds of a whole GRPO step by whet and by TRL with `generate`; and how far the update is from the roof."""
    longest = 256 if card.is_gpu else 16
    case = Case(size=size, prompt_length=PROMPT, completion_length=longest, completions=rows)
    rate = card.products()
    mine = whet_step(card, case, rate)
    print(f"  {mine}", file=sys.stderr, flush=True)
    card.free()
    found = {
        "rows": [mine],
        "case": case.about(),
        "update_flops": update_flops(case),
        "product_flops_per_s": rate,
    }
    if with_trl:
        theirs = trl_seconds(card, case)
        found["rows"].append(
            {"": "trl", "samples/s": case.num_rows / theirs, "step s": theirs, "peak GB": card.peak() / 1e9}
        )
        found["ratio_samples_per_s"] = theirs / mine["step s"]
    return found


def whet_step(card: Card, case: Case, rate: float) -> dict[str, Any]:
    """The medians of three steps, after two that warm up."""
    whet = WhetStep(card.policy(case), case, microbatch_tokens=32768)
    whet(), whet()
    sampling, updating, groups = [], [], [whet.generate()]
    for _ in range(3):
        sampling.append(card.timed(lambda: groups.append(whet.generate())))
        updating.append(card.timed(lambda: whet.update(groups[-1])))
    seconds = median(map(sum, zip(sampling, updating, strict=True)))
    return {
        "": "whet", "samples/s": case.num_rows / seconds, "step s": seconds, "sampling s": median(sampling),
        "update s": median(updating), "share of product rate": update_flops(case) / median(updating) / rate,
        "peak GB": card.peak() / 1e9,
    }  # fmt: skip


def trl_seconds(card: Card, case: Case) -> float:
    """Of TRL's step; the first one warms up. Its weights are bf16 without masters, which is less work than ours."""
    walls: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        trl = TRLStep(card.model(case), case, rows_at_once=min(32, case.num_rows))
        trl.run(Path(directory), 3, lambda spent: walls.append(spent.wall_s))
    print(f"  trl {walls}", file=sys.stderr, flush=True)
    return median(walls[1:])


def memory(card: Card, size: str) -> dict[str, Any]:
    """Peak memory of a step with the settings of `gsm8k_max_gpu`, every prompt and completion as long as can be."""
    config = load_config(["gsm8k_max_gpu"])
    batch, sampling = config.batch, config.sampling
    longest = (sampling.max_prompt_length, sampling.max_completion_length) if card.is_gpu else (24, 12)
    rows = batch.prompts_per_step * batch.num_generations if card.is_gpu else 16
    case = Case(
        size=size, prompt_length=longest[0], completion_length=longest[1], completions=rows, lengths="equal"
    )  # fmt: skip
    policy = card.policy(case)
    sizes = Sizes(
        num_train=1000, num_test=0, longest_prompt=longest[0], vocab_size=case.model.vocab_size,
        policy=footprint(policy.module), packs=policy.packs,
    )  # fmt: skip
    tokens = gpu_budget(config, sizes, policy) if card.is_gpu else 4096
    print(f"  {tokens} tokens a micro-batch, packed: {policy.packs}", file=sys.stderr, flush=True)
    if card.is_gpu:
        torch.cuda.reset_peak_memory_stats()
    whet = WhetStep(policy, case, microbatch_tokens=tokens)
    seconds = card.timed(whet)
    total = torch.cuda.get_device_properties(0).total_memory if card.is_gpu else 1
    held = torch.cuda.max_memory_reserved() if card.is_gpu else 0
    row = {
        "model": size, "completions": case.num_rows, "planned tokens": tokens, "tokens": whet.learner.microbatch_tokens,
        "peak GB": card.peak() / 1e9, "share of card": card.peak() / total, "share reserved": held / total,
        "step s": seconds,
    }  # fmt: skip
    return {"rows": [row], "case": case.about()}


def step_bytes(case: Case) -> float:
    """Bytes that a decode step reads on average: the weights, each prompt once, and of every row what it has so far."""
    weights = 2 * (case.model.body + case.model.head)
    tokens = case.num_prompts * case.prompt_length + case.num_rows * case.completion_length / 2
    return weights + tokens * case.model.kv_bytes / 2  # of a token in float32: half of it in bf16


def update_flops(case: Case) -> float:
    """Of the matrix products with weights: 6 a parameter and token, each prompt once; attention is not counted."""
    trained = sum(case.forced())
    read = case.num_prompts * case.prompt_length + trained - case.num_rows
    return 6.0 * (case.model.body * read + case.model.head * trained)


@dataclass(frozen=True, slots=True)
class Card:
    """The device that is measured, and what it is held against."""

    device: torch.device

    @property
    def is_gpu(self) -> bool:
        """Else sizes are those of a trial on a CPU."""
        return self.device.type == "cuda"

    def policy(self, case: Case) -> HuggingFacePolicy:
        """A policy in bf16 with random weights."""
        settings = HuggingFace(model=f"random {case.size}", precision="bf16")
        return HuggingFacePolicy(self.model(case), endless(case.model.vocab_size), settings, None)

    def model(self, case: Case) -> Any:
        """Its module."""
        torch.manual_seed(0)
        with self.device:
            return random_model(case, torch.bfloat16)

    def bandwidth(self) -> float:
        """Bytes per second of a copy on the device, read and written."""
        size = 2**31 if self.is_gpu else 2**24
        source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        return 2 * size / self.usual(lambda: target.copy_(source))

    def products(self) -> float:
        """FLOP per second of a large product in bf16."""
        n = 8192 if self.is_gpu else 256
        a, b = (torch.randn(n, n, device=self.device).bfloat16() for _ in range(2))
        return 2 * n**3 / self.usual(lambda: a @ b)

    def usual(self, call: Callable[[], Any]) -> float:
        """Seconds of a call, the median of twenty."""
        call(), call()
        return median(self.timed(call) for _ in range(20))

    def timed(self, call: Callable[[], Any]) -> float:
        """Wall seconds, until the device is done."""
        self.wait()
        begun = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - begun

    def wait(self) -> None:
        """For the device."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def free(self) -> None:
        """Gives memory back, and begins the peak anew."""
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """The most bytes of tensors since `free`."""
        return torch.cuda.max_memory_allocated() if self.is_gpu else 0

    def about(self) -> dict[str, Any]:
        """Name and memory."""
        found = torch.cuda.get_device_properties(0) if self.is_gpu else None
        return {} if found is None else {"gpu": found.name, "gpu_bytes": found.total_memory}


if __name__ == "__main__":
    main()
