"""Sampling from a merged copy, and within a limit of memory."""

import pytest
import torch

import peaked
from checkpoints import tiny_checkpoint
from whet.engines.native import Native
from whet.errors import ConfigError
from whet.models.kv_cache import KVCache
from whet.policies.from_scratch import FromScratch
from whet.policies.huggingface import HuggingFace
from whet.seeding import key
from whet.types import Request


@pytest.fixture
def adapted():
    """A policy whose adapters say something."""
    settings = HuggingFace(model=str(tiny_checkpoint("qwen2")), precision="fp32", lora={"r": 4, "alpha": 8})
    policy = settings.build([], 0, torch.device("cpu"))
    move(policy, 0)
    return policy


def move(policy, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.module.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)


def tokens(policy, **settings):
    found = peaked.draw(Native(**settings).build(policy), peaked.requests(policy), temperature=0.0)
    return {place: c.token_ids for place, c in found.items()}


def test_the_merged_copy_says_what_the_adapters_say(adapted):
    assert tokens(adapted, merged=True) == tokens(adapted)


def test_the_merged_copy_follows_the_adapters(adapted):
    engine, asked = Native(merged=True).build(adapted), peaked.requests(adapted)
    before = peaked.draw(engine, asked, temperature=0.0)
    move(adapted, 1)
    after = {p: c.token_ids for p, c in peaked.draw(engine, asked, temperature=0.0).items()}
    assert after == tokens(adapted)
    assert after != {p: c.token_ids for p, c in before.items()}


def test_the_copy_is_made_once_as_long_as_nothing_moves(adapted, monkeypatch):
    made = []
    merged = adapted.merged
    monkeypatch.setattr(adapted, "merged", lambda: made.append(1) or merged())
    engine = Native(merged=True).build(adapted)
    for _ in range(3):
        peaked.draw(engine, peaked.requests(adapted))
    assert len(made) == 1


def test_a_policy_without_adapters_has_nothing_to_merge():
    with pytest.raises(ConfigError, match=r"engine\.merged: this policy has no adapters"):
        Native(merged=True).build(peaked.policy())


def test_what_keys_and_values_may_take_limits_the_rows_in_flight():
    policy, seen = peaked.policy(), []
    # The policy keeps 2 (keys and values) x layers x width numbers of 4 bytes a token; rows of 11 + 500 tokens.
    config = policy.module.config
    per_row = 2 * config.num_layers * config.width * 4 * (11 + 500)
    rows = 2**20 // per_row
    assert 1 < rows < 54
    policy.context_length = 600
    hook = policy.module.wte.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    asked = [
        type(r)(prompt_ids=r.prompt_ids, keys=r.keys, max_completion_length=12)
        for r in peaked.requests(policy, samples=9)
    ]
    found = peaked.draw(Native(cache_mb=1).build(policy), asked, max_completion_length=500)
    hook.remove()
    assert len(found) == 54
    assert max(n for n, width in seen if width == 1) == rows


def test_long_prompts_that_come_late_make_the_rows_in_flight_fewer():
    sizes, seen = FromScratch(num_layers=2, num_heads=4, width=32, context_length=600), []
    policy = sizes.build(["01"], 0, torch.device("cpu"))
    config = policy.module.config
    per_token = 2 * config.num_layers * config.width * 4
    digits = policy.tokenizer.encode("1")
    asked = [
        Request(prompt_ids=tuple(digits * length), keys=(key(0, "late", length, i),), max_completion_length=4)
        for length in (1, 590)
        for i in range(16)
    ]
    hook = policy.module.wte.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    found = peaked.draw(Native(cache_mb=1, max_rows=16).build(policy), asked, max_completion_length=4)
    hook.remove()
    assert len(found) == 32
    first_long = next(i for i, (_, width) in enumerate(seen) if width == 590)
    most = 2**20 // (per_token * 594)
    assert max(n for n, width in seen[:first_long] if width == 1) > most
    assert 1 < max(n for n, width in seen[first_long:] if width == 1) <= most


def test_keys_and_values_never_take_more_than_they_may(monkeypatch):
    """Many short prompts, then few long ones, then short ones again: room for many long ones is never made."""
    sizes, taken, reserve = (
        FromScratch(num_layers=2, num_heads=4, width=32, context_length=600),
        [],
        KVCache.reserve,
    )
    policy = sizes.build(["01"], 0, torch.device("cpu"))
    zero, one = policy.tokenizer.encode("0") + policy.tokenizer.encode("1")
    asked = [
        Request(
            prompt_ids=(*((one if n >> bit & 1 else zero) for bit in range(8)), *(one,) * more), keys=(n,)
        )
        for more, numbers in ((0, range(40)), (580, range(8)), (0, range(40, 80)))
        for n in numbers
    ]

    def reserved(cache, *shape):
        made = reserve(cache, *shape)
        taken.append(sum(t.nbytes for s in (cache.prompts, cache.own) for t in (s.keys, s.values)))
        return made

    monkeypatch.setattr(KVCache, "reserve", reserved)
    limited = peaked.draw(Native(cache_mb=1, max_rows=40).build(policy), asked, max_completion_length=4)
    assert 2**19 < max(taken) < 2**20 * 1.05  # 588 + 4 tokens take the room of 592 + 8
    most = max(taken)
    free = peaked.draw(Native(max_rows=40).build(policy), asked, max_completion_length=4)
    assert max(taken) > 4 * most
    assert {at: c.token_ids for at, c in limited.items()} == {at: c.token_ids for at, c in free.items()}
