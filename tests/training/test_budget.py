"""How many tokens fit: by lines through measurements on a GPU, by the forecast on a CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from whet.config import Config
from whet.interfaces import Policy
from whet.training import budget
from whet.training.budget import cpu_budget, dummy_batch, gpu_budget, line_through, most_tokens, pass_over
from whet.training.forecast import Sizes, forecast, sizes_of
from whet.training.job import Data, build_policy

CPU = torch.device("cpu")


def asked(root: Path) -> tuple[Config, Sizes, Policy]:
    """Prompts of up to 3 tokens, completions of up to 3."""
    config = tiny.config(root, batch={"microbatch_tokens": "auto"})
    data = Data.load(config)
    policy = build_policy(config, data, CPU)
    return config, sizes_of(policy, data, config.prompt, CPU), policy


def test_the_most_that_fits_is_a_multiple_of_1024_and_never_less_than_a_sequence() -> None:
    assert most_tokens(lambda tokens: 10 * tokens, 51_199, 7, 16384) == 4096  # 5120 take 51,200
    assert most_tokens(lambda tokens: 10 * tokens, 51_200, 7, 16384) == 5120
    assert most_tokens(lambda tokens: 10 * tokens, 10**9, 7, 16384) == 16384
    assert most_tokens(lambda tokens: 10 * tokens, 100, 700, 16384) == 700


def test_a_line_has_what_is_there_anyway_and_a_part_for_each_token() -> None:
    at = line_through({10: 100, 20: 180}.__getitem__, 10, 20)
    assert (at(10), at(20), at(50)) == (100, 180, 420)  # 8 bytes a token
    flat = line_through({10: 100, 20: 90}.__getitem__, 10, 20)
    assert flat(1000) == 100  # noise, and no line that falls


def test_on_a_cpu_one_step_more_would_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, sizes, _ = asked(tmp_path)
    config = config.model_copy(update={"batch": config.batch.model_copy(update={"prompts_per_step": 10_000})})

    def total(tokens: int) -> int:
        batch = config.batch.model_copy(update={"microbatch_tokens": tokens})
        return int(forecast(config.model_copy(update={"batch": batch}), sizes)["memory_bytes"]["total"])

    free = int((total(5000) - sizes.policy.weight_bytes) / 0.85)
    monkeypatch.setattr(budget, "memory_bytes", lambda: (free, 10**12))
    assert cpu_budget(config, sizes) == 4096
    monkeypatch.setattr(budget, "memory_bytes", lambda: (0, 10**12))
    assert cpu_budget(config, sizes) == sizes.longest_prompt + 3


def short_card(monkeypatch: pytest.MonkeyPatch, free: int) -> list[tuple[int, int]]:
    """A GPU with so many free bytes, where a pass takes 1000 and 70 for each row; returns rows and tokens of each."""
    passes: list[tuple[int, int]] = []

    def peak(policy: Policy, batch: Any, want: object) -> int:
        passes.append((len(batch), batch.token_ids.shape[1]))
        return 1000 + 70 * len(batch)

    monkeypatch.setattr(budget, "_peak", peak)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**12))
    return passes


def test_on_a_gpu_a_few_rows_and_twice_as_many_tell_what_a_token_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, sizes, policy = asked(tmp_path)
    parts = forecast(config, sizes)["memory_bytes"]
    later = parts["optimizer"] + parts["kv_cache"]
    # A row more is 3 - 1 = 2 tokens more, so 35 bytes a token; room for 5000 of them and what is there anyway.
    passes = short_card(monkeypatch, int((1000 + 35 * 5000 + later) / 0.85))
    assert gpu_budget(config, sizes, policy) == 4096
    length = sizes.longest_prompt + 3
    # 342 completions of 3 tokens are the first to have 1024; the first pass warms up.
    assert passes == [(342, length), (342, length), (684, length)]


def large_card(monkeypatch: pytest.MonkeyPatch, fits: int) -> list[int]:
    """A GPU on which small passes seem to take twice of what a row takes in larger ones; returns rows of each."""
    passes: list[int] = []

    def peak(policy: Policy, batch: Any, want: object) -> int:
        passes.append(len(batch))
        if len(batch) > fits:
            raise torch.OutOfMemoryError
        return 100_000 + 100 * len(batch) + 100 * min(len(batch), 1000)

    monkeypatch.setattr(budget, "_peak", peak)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5_000_000, 10**12))
    return passes


def test_a_third_of_the_plan_corrects_what_small_passes_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, sizes, policy = asked(tmp_path)
    passes = large_card(monkeypatch, fits=10**9)
    found = gpu_budget(config, sizes, policy)
    few, again, twice, lowest, third = passes
    assert (few, again, twice, lowest) == (342, 342, 684, 342)
    promised = 3 * 2 * third  # a row is two tokens more
    assert promised * 1.4 < found < promised * 2
    parts = forecast(config, sizes)["memory_bytes"]
    room = 0.85 * 5_000_000 - parts["optimizer"] - parts["kv_cache"]
    assert 0.9 * room < 200_000 + 100 * found / 2 <= room


def test_a_gpu_on_which_a_third_does_not_fit_gets_what_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, sizes, policy = asked(tmp_path)
    large_card(monkeypatch, fits=1000)
    assert gpu_budget(config, sizes, policy) == sizes.longest_prompt + 684 * 2


def test_a_gpu_on_which_a_row_does_not_fit_gets_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, sizes, policy = asked(tmp_path)

    def peak(*arguments: object) -> int:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(budget, "_peak", peak)
    assert gpu_budget(config, sizes, policy) == sizes.longest_prompt + 3


def test_a_pass_leaves_the_policy_as_it_was(tmp_path: Path) -> None:
    _, _, policy = asked(tmp_path)
    before = {name: p.detach().clone() for name, p in policy.module.named_parameters()}
    pass_over(policy, dummy_batch(2, 3, 3, CPU), frozenset({"entropy_gradient"}))
    for name, parameter in policy.module.named_parameters():
        assert torch.equal(parameter, before[name]) and parameter.grad is None
