"""Updates on a card: packed rows against padded ones, and 16-bit weights that follow their float32 masters."""

from typing import Any

import pytest
import torch

from checkpoints import tiny_checkpoint
from whet.config import OptimizerConfig
from whet.distributed.world import World
from whet.models.varlen_attention import _gap, is_proven
from whet.policies.from_scratch import FromScratch
from whet.policies.huggingface import HuggingFace
from whet.tracking.metrics import Metrics
from whet.training.budget import dummy_batch
from whet.training.objectives import Imitation
from whet.training.optimizer import Optimizer
from whet.training.update import Learner
from whet.types import Batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
CARD = torch.device("cuda")


def policy(kind: str, precision: str) -> Any:
    if kind == "gpt":
        sizes = FromScratch(num_layers=3, num_heads=4, width=256, context_length=256, precision=precision)
        return sizes.build(["0123456789"], 0, CARD)
    return HuggingFace(model=str(tiny_checkpoint(kind)), precision=precision).build([], 0, CARD)


def batch(vocab: int) -> Batch:
    """Rows of four prompts and of many lengths."""
    rows, prompt, completion = 24, 12, 40
    made = dummy_batch(rows, prompt, completion, torch.device("cpu"))
    noise = torch.Generator().manual_seed(0)
    made.token_ids[:, prompt:] = torch.randint(0, vocab, (rows, completion), generator=noise)
    made.token_ids[:, :prompt] = torch.arange(rows)[:, None] % 4
    lengths = torch.randint(1, completion + 1, (rows, 1), generator=noise)
    made.loss_mask[:, prompt:] &= torch.arange(completion) < lengths
    made.lengths[:] = prompt + lengths[:, 0]
    return made.to(CARD)


def learner(of: Any) -> Learner:
    return Learner(of, Optimizer(of.module, OptimizerConfig()), 10**6, World())


def gradients(of: Any, packs: bool) -> dict[str, torch.Tensor]:
    of.packs, it = packs, learner(of)
    losses = it.backward(Imitation(), batch(of.tokenizer.vocab_size), Metrics())
    found = {n: m.grad.clone() for n, m in it.optimizer._named.items() if m.grad is not None}
    it.optimizer.forget_gradient()
    return {**found, "loss": torch.tensor(list(losses.values()))}


def test_flash_attention_of_runs_is_attention() -> None:
    assert is_proven(CARD, torch.bfloat16)
    assert _gap(CARD, torch.bfloat16) < 0.01
    assert not is_proven(CARD, torch.float32)


@pytest.mark.parametrize("kind", ["gpt", "qwen2", "qwen3", "llama"])
def test_packed_rows_give_the_gradients_of_padded_ones(kind: str) -> None:
    one = policy(kind, "bf16")
    assert one.packs
    packed, padded = gradients(one, True), gradients(one, False)
    exact = gradients(policy(kind, "fp32"), False)
    assert packed.keys() == padded.keys() == exact.keys()
    for name, expected in exact.items():
        scale = expected.norm() + 1e-6
        # Both differ from float32, also by the rounding of the weights; packed rows no more than padded ones.
        assert (packed[name] - expected).norm() <= 1.5 * (padded[name] - expected).norm() + 0.02 * scale, name


def test_weights_of_16_bits_follow_their_masters() -> None:
    one = policy("gpt", "bf16")
    it, data = learner(one), batch(one.tokenizer.vocab_size)
    before = {n: p.clone() for n, p in one.module.named_parameters()}
    losses = [it.update(Imitation(), data, 1e-3).values()["loss/nll"] for _ in range(8)]
    assert losses[-1] < losses[0]
    for name, parameter in one.module.named_parameters():
        assert parameter.dtype == torch.bfloat16
        assert not torch.equal(parameter, before[name]), name
        assert torch.equal(parameter, it.optimizer._named[name].bfloat16())
