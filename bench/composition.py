"""How often does the company in which a completion is sampled change its tokens?

    python bench/composition.py RUN [--completions 4000]

The same keys draw the same uniform numbers, and the same batch composition gives the same bits. Another composition
rounds the logits differently, which flips a token whose uniform number lies within rounding of a boundary. Samples
the same completions in other compositions and with the other engine, counts those whose tokens differ, and
compares the recorded log-probabilities with those of the trainer's forward. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from whet import load_policy, open_run
from whet.config import PromptConfig, SamplingConfig
from whet.engines.huggingface import HuggingFace
from whet.engines.native import Native
from whet.interfaces import Policy, Task
from whet.rollouts.batch import make_batch, microbatches
from whet.rollouts.collect import Item, collect
from whet.seeding import key
from whet.text.prompts import PromptEncoder
from whet.types import Example, RolloutGroup

Draw = Callable[[Sequence[Item]], list[RolloutGroup]]


def measure(
    policy: Policy, task: Task, examples: Sequence[Example], sampling: SamplingConfig, num_samples: int
) -> dict[str, Any]:
    """Flips per 1,000 completions for each composition, the largest log-probability gap, and tokens per second."""

    def draw(items: Sequence[Item], engine: Any) -> list[RolloutGroup]:
        return collect(
            engine.build(policy),
            PromptEncoder(policy.tokenizer, PromptConfig()),
            items,
            task,
            sampling.params(),
        )

    items = [
        (e, tuple(key(0, "composition", i, j) for j in range(num_samples))) for i, e in enumerate(examples)
    ]
    compositions: dict[str, Draw] = {
        "37 rows": lambda items: draw(items, Native(max_rows=37)),
        "5 rows": lambda items: draw(items, Native(max_rows=5)),
        "reversed": lambda items: draw(items[::-1], Native())[::-1],
        "one prompt at a time": lambda items: [group for item in items for group in draw([item], Native())],
        "huggingface": lambda items: draw(items, HuggingFace()),
    }
    draw(items[:1], HuggingFace())  # loads what is loaded once
    groups, speed = _timed(lambda items: draw(items, Native()), items)
    flips, tokens_per_s = {}, {"native": speed}
    for name, composition in compositions.items():
        others, tokens_per_s[name] = _timed(composition, items)
        flips[name] = 1000 * _differing(groups, others) / (len(items) * num_samples)
    return {
        "completions": len(items) * num_samples,
        "mean_length": sum(_tokens(group) for group in groups) / (len(items) * num_samples),
        "flips_per_1000": flips,
        "worst_flips_per_1000": max(flips.values()),
        "logprob_gap_max": _logprob_gap(policy, groups, sampling),
        "tokens_per_s": tokens_per_s,
    }


def _timed(draw: Draw, items: Sequence[Item]) -> tuple[list[RolloutGroup], int]:
    start = time.perf_counter()
    groups = draw(items)
    return groups, round(sum(map(_tokens, groups)) / (time.perf_counter() - start))


def _tokens(group: RolloutGroup) -> int:
    return sum(r.completion_length for r in group.rollouts)


def _differing(groups: Sequence[RolloutGroup], others: Sequence[RolloutGroup]) -> int:
    pairs = zip(groups, others, strict=True)
    return sum(
        a.token_ids != b.token_ids for g, o in pairs for a, b in zip(g.rollouts, o.rollouts, strict=True)
    )


@torch.no_grad()
def _logprob_gap(policy: Policy, groups: Sequence[RolloutGroup], sampling: SamplingConfig) -> float:
    """The largest difference between what the sampler recorded and what the trainer's forward says."""
    device = next(policy.module.parameters()).device
    batch = make_batch(groups, sampling, device)
    gaps = []
    for rows in microbatches(batch, 16384, policy.packs):
        part = batch.rows(rows)
        gaps.append((policy.forward(part).logprobs - part.sampling_logprobs).abs().max().item())
    return max(gaps)


def main() -> None:
    """Measures a run's policy on the problems of its own task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--completions", type=int, default=4000)
    arguments = parser.parse_args()
    policy, config = load_policy(arguments.run).policy, open_run(arguments.run.split(":")[0]).config
    samples = config.batch.num_generations
    examples = config.task.examples("train")[: max(1, arguments.completions // samples)]
    torch.set_num_threads(config.num_threads or torch.get_num_threads())
    print(json.dumps(measure(policy, config.task, examples, config.sampling, samples), indent=2))


if __name__ == "__main__":
    main()
