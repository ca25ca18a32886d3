"""`bench/gpu.py` on a model of 22 thousand parameters and a CPU, and its arithmetic."""

import pytest
import torch

import gpu
from speed_case import Case

CARD = gpu.Card(torch.device("cpu"))


def test_every_part_that_is_whets_own_runs() -> None:
    found = gpu.decode(CARD, ["micro"], [8], 4)["rows"]
    assert [(row["model"], row["rows"]) for row in found] == [("micro", 8)]
    assert 0 < found[0]["share of floor"] < 1
    assert gpu.step(CARD, "micro", 8, with_trl=False)["rows"][0]["samples/s"] > 0
    assert gpu.memory(CARD, "micro")["rows"][0]["completions"] == 16


def test_a_step_reads_the_weights_each_prompt_once_and_half_of_a_completion() -> None:
    case = Case(size="0.5b", prompt_length=64, completion_length=128, completions=64, lengths="equal")
    # 494 million parameters of 2 bytes, 8 x 64 + 64 x 64 tokens of 12,288 bytes
    assert gpu.step_bytes(case) == pytest.approx(2 * 493.9e6 + 4608 * 12_288, rel=1e-3)


def test_an_update_reads_every_token_but_the_last_of_each_row() -> None:
    case = Case(size="tiny", prompt_length=64, completion_length=10, completions=16, lengths="equal")
    assert gpu.update_flops(case) == 6 * (case.model.body * (2 * 64 + 16 * 9) + case.model.head * 160)
