"""Decoding on a card: replayed graphs against plain steps, and what was sampled against the policy's forward pass."""

from typing import Any

import pytest
import torch

import peaked
from checkpoints import tiny_checkpoint
from whet.engines._flight import Deck
from whet.engines.native import Native
from whet.functional.sampling import inverse_cdf
from whet.models.packing import can_pack
from whet.policies.huggingface import HuggingFace
from whet.seeding import uniforms

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]


def policy(kind: str, dtype: torch.dtype) -> Any:
    if kind == "gpt":
        made: Any = peaked.policy()
        made.module.to("cuda", dtype)
        made.packs = can_pack(made.module.wte.weight)  # it was built on the processor
        return made
    precision = "fp32" if dtype == torch.float32 else "bf16"
    settings = HuggingFace(model=str(tiny_checkpoint(kind)), precision=precision)
    return settings.build([], 0, torch.device("cuda"))


def requests() -> Any:
    return peaked.requests(peaked.policy(), samples=9)


def assert_alike(found: Any, expected: Any) -> None:
    """Rounding may flip a token at a boundary."""
    same = [place for place, c in expected.items() if found[place].token_ids == c.token_ids]
    assert len(same) >= 0.95 * len(expected)
    for place in same:
        assert found[place].logprobs == pytest.approx(expected[place].logprobs, abs=1e-4)


@pytest.mark.parametrize("kind", ["gpt", "qwen2", "qwen3"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_replayed_graphs_draw_what_plain_steps_draw(kind: str, temperature: float) -> None:
    torch.set_float32_matmul_precision("highest")
    one = policy(kind, torch.float32)
    asked, plain, replayed = requests(), Native().build(one), Native().build(one)
    plain._deck = lambda decoder, params: Deck(decoder, params)  # type: ignore[assignment, union-attr]
    for factor in (1.0, 1.1):  # graphs read what the weights have become
        for parameter in one.module.parameters():
            parameter.data.mul_(factor)
        expected = peaked.draw(plain, asked, temperature=temperature)
        for _ in range(3):  # run, recorded, replayed
            assert_alike(peaked.draw(replayed, asked, temperature=temperature), expected)


@pytest.mark.parametrize(
    ("dtype", "mean", "most"), [(torch.float32, 1e-5, 1e-4), (torch.bfloat16, 0.02, 0.3)], ids=str
)
@pytest.mark.parametrize("kind", ["gpt", "qwen2"])
def test_sampled_log_probabilities_are_those_of_the_forward_pass(
    kind: str, dtype: torch.dtype, mean: float, most: float
) -> None:
    torch.set_float32_matmul_precision("highest")
    one = policy(kind, dtype)
    asked, engine = requests(), Native().build(one)
    for _ in range(3):
        found = list(peaked.draw(engine, asked).values())
    batch = peaked.batch_of(asked, found, 1.0).to(torch.device("cuda"))
    with torch.no_grad():
        gap = (one.forward(batch).logprobs - batch.sampling_logprobs)[batch.loss_mask].abs()
    assert float(gap.mean()) < mean
    assert float(gap.max()) < most


def test_a_card_draws_the_tokens_of_a_processor() -> None:
    keys, noise = torch.arange(64) * 7919, torch.Generator().manual_seed(0)
    weights = torch.randint(0, 4, (64, 128 * 1187), generator=noise).float()  # sums of it are exact
    u = uniforms(keys, torch.zeros_like(keys))
    assert torch.equal(uniforms(keys.cuda(), torch.zeros_like(keys).cuda()).cpu(), u)
    assert torch.equal(inverse_cdf(weights.cuda(), u.cuda()).cpu(), inverse_cdf(weights, u))
