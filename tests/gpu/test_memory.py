"""A real card whose memory really runs out."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from whet.config import OptimizerConfig
from whet.distributed.world import World
from whet.policies.from_scratch import FromScratch
from whet.tracking.metrics import Metrics
from whet.training.budget import dummy_batch
from whet.training.objectives import Imitation
from whet.training.optimizer import Optimizer
from whet.training.update import Learner

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
ROWS, PROMPT, COMPLETION = 64, 64, 192


@pytest.fixture(autouse=True)
def _whole_card_afterwards() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def learner(microbatch_tokens: int) -> Learner:
    sizes = FromScratch(num_layers=8, num_heads=8, width=512, context_length=PROMPT + COMPLETION)
    policy = sizes.build(["0123456789"], 0, torch.device("cuda"))
    return Learner(policy, Optimizer(policy.module, OptimizerConfig()), microbatch_tokens, World())


def gradients(of: Learner) -> dict[str, Any]:
    of.backward(Imitation(), dummy_batch(ROWS, PROMPT, COMPLETION, torch.device("cuda")), Metrics())
    return {n: p.grad.clone() for n, p in of.policy.module.named_parameters() if p.grad is not None}


def test_an_update_that_does_not_fit_is_the_one_of_smaller_micro_batches() -> None:
    tokens = PROMPT + 8 * (COMPLETION - 1)  # eight rows
    torch.cuda.reset_peak_memory_stats()
    small = learner(tokens)
    expected = gradients(small)
    enough = torch.cuda.max_memory_allocated()
    del small
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    held = sum(gradient.nbytes for gradient in expected.values())
    torch.cuda.set_per_process_memory_fraction((1.3 * enough + held) / total)
    whole = learner(10**6)
    found = gradients(whole)
    assert tokens / 4 <= whole.microbatch_tokens < ROWS * (PROMPT + COMPLETION)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


def test_after_running_out_the_next_update_fits_at_once(caplog: pytest.LogCaptureFixture) -> None:
    torch.cuda.reset_peak_memory_stats()
    small = learner(PROMPT + 8 * (COMPLETION - 1))
    gradients(small)
    enough = torch.cuda.max_memory_allocated()
    del small
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    whole = learner(10**6)
    torch.cuda.set_per_process_memory_fraction(1.3 * enough / total)
    batch = dummy_batch(ROWS, PROMPT, COMPLETION, torch.device("cuda"))
    whole.backward(Imitation(), batch, Metrics())
    whole.optimizer.forget_gradient()
    assert len(caplog.records) == 1
    whole.backward(Imitation(), batch, Metrics())
    assert len(caplog.records) == 1
