"""What is faster gives the same update: one recorded batch, with each of the fast paths left out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from checkpoints import tiny_checkpoint
from tables import draw
from whet.algorithms.dr_grpo import DrGRPO
from whet.config import OptimizerConfig
from whet.distributed.world import World
from whet.models import decode_step, packed_in_c
from whet.policies.from_scratch import FromScratch
from whet.policies.huggingface import HuggingFace
from whet.tracking.metrics import Metrics
from whet.training.objectives import Reinforcement
from whet.training.optimizer import Optimizer
from whet.training.terms import with_advantages
from whet.training.update import Learner
from whet.types import Batch

CPU = torch.device("cpu")
POLICIES: dict[str, Callable[[], Any]] = {
    "from scratch": lambda: FromScratch(num_layers=2, num_heads=2, width=32, context_length=64).build(["0123"], 0, CPU),
    "qwen2": lambda: HuggingFace(model=str(tiny_checkpoint("qwen2"))).build([], 0, CPU),
    "qwen3": lambda: HuggingFace(model=str(tiny_checkpoint("qwen3"))).build([], 0, CPU),
    "llama lora": lambda: HuggingFace(model=str(tiny_checkpoint("llama")), lora={"r": 4}).build([], 0, CPU),
}  # fmt: skip


def without_packing(policy: Any, _patch: pytest.MonkeyPatch) -> None:
    policy.packs = False


def without_attention_in_c(_policy: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(packed_in_c, "is_possible", lambda _: False)


def without_pieces_in_c(_policy: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decode_step, "is_possible", lambda *_: False)


def through_the_modules(policy: Any, _patch: pytest.MonkeyPatch) -> None:
    policy._decoder = None


def one_row_at_a_time(policy: Any, _patch: pytest.MonkeyPatch) -> None:
    policy.microbatch_tokens = 1


LEFT_OUT = (
    without_packing,
    without_attention_in_c,
    without_pieces_in_c,
    through_the_modules,
    one_row_at_a_time,
)


def recorded(policy: Any) -> Batch:
    """Two prompts with three completions each, ragged, every token from the policy's vocabulary."""
    pictures = [
        ".....xxxxxxxx",
        ".....x",
        ".....xxxx",
        ".......xxxxxxxxxxxxxxxxx",
        ".......xxx",
        ".......xxxxx",
    ]
    batch = draw(pictures, [1.0, 0.0, 1.0, 0.0, 1.0, 0.5], [0, 0, 0, 1, 1, 1])
    ids = torch.randint(
        3, policy.tokenizer.vocab_size, batch.token_ids.shape, generator=torch.Generator().manual_seed(0)
    )
    ids[1:3, :5], ids[4:6, :7] = ids[0, :5], ids[3, :7]
    batch = dataclasses.replace(
        batch, token_ids=ids, rewards=batch.rewards.float(), sampling_logprobs=batch.sampling_logprobs.float()
    )
    return with_advantages(batch, DrGRPO(), {})


def update(
    name: str, change: Callable[..., None] | None, patch: pytest.MonkeyPatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of one update, and the weights after it."""
    policy = POLICIES[name]()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.module.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=noise)
    batch = recorded(policy)
    with patch.context() as context:
        if change is not None:
            change(policy, context)
        tokens = getattr(policy, "microbatch_tokens", 10**6)
        learner = Learner(policy, Optimizer(policy.module, OptimizerConfig()), tokens, World())
        learner.backward(Reinforcement(DrGRPO(), True), batch, Metrics())
        trained = [p for p in policy.module.parameters() if p.requires_grad]
        gradient = torch.cat([p.grad.flatten() for p in trained])
        learner.optimizer.forget_gradient()
        learner.update(Reinforcement(DrGRPO(), True), batch, 1e-3)
    return gradient, torch.cat([p.detach().flatten() for p in trained])


@pytest.mark.parametrize("change", LEFT_OUT, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", POLICIES)
def test_an_update_is_the_same_without_it(
    name: str, change: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, other = update(name, None, monkeypatch), update(name, change, monkeypatch)
    assert fast[0].norm() > 0.01
    assert (fast[0] - other[0]).norm() < 1e-5 * fast[0].norm()
    assert (fast[1] - other[1]).norm() < 1e-5 * fast[1].norm()
