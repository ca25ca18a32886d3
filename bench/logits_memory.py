"""Peak memory of a forward and backward pass through a head of 151,936 tokens, as JSON.

    python bench/logits_memory.py 1024
    python bench/logits_memory.py 4096

A process of its own for each number of trained tokens: the peak of a process never falls.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch

from whet.functional.logprobs import token_stats
from whet.training.timing import peak_memory_gb
from whet.types import Batch

VOCABULARY, WIDTH, LENGTH = 151_936, 64, 64


def main() -> None:
    """Prints the peak before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokens", type=int, help=f"a multiple of {LENGTH}")
    rows = parser.parse_args().tokens // LENGTH
    torch.set_num_threads(1)
    head = torch.nn.Linear(WIDTH, VOCABULARY, bias=False)
    hidden = torch.randn(rows, LENGTH, WIDTH).requires_grad_()
    before = peak_memory_gb(hidden.device)
    token_stats(
        hidden.flatten(0, 1), head.weight, batch(rows), entropy_gradient=False
    ).logprobs.sum().backward()
    found = {"tokens": rows * LENGTH, "before_gb": before, "peak_gb": peak_memory_gb(hidden.device)}
    json.dump(found, sys.stdout)
    print()


def batch(rows: int) -> Batch:
    """Random tokens, all but the first of a row trained."""
    zeros = torch.zeros(rows, LENGTH + 1)
    mask = torch.ones(rows, LENGTH + 1, dtype=torch.bool)
    mask[:, 0] = False
    return Batch(
        token_ids=torch.randint(0, VOCABULARY, mask.shape),
        lengths=torch.full((rows,), LENGTH + 1),
        loss_mask=mask,
        group=torch.zeros(rows, dtype=torch.int64),
        truncated=torch.zeros(rows, dtype=torch.bool),
        rewards=zeros,
        sampling_logprobs=zeros,
    )


if __name__ == "__main__":
    main()
