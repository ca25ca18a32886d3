"""Each kernel against torch in float32, on a card; or with TRITON_INTERPRET=1 on a processor, exactly."""

import os

import pytest
import torch

from whet.functional import logits_gpu
from whet.models import decode_step_gpu

IS_CARD = torch.cuda.is_available()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not IS_CARD and os.environ.get("TRITON_INTERPRET") != "1", reason="there is no GPU"),
]
DEVICE = torch.device("cuda" if IS_CARD else "cpu")
KINDS = [(torch.bfloat16, 0.008)] if IS_CARD else [(torch.float32, 1e-5)]


@pytest.mark.parametrize(("dtype", "most"), KINDS, ids=str)
@pytest.mark.parametrize(
    ("heads", "size"), [((2, 7), 64), ((1, 1), 64), ((2, 6), 128), ((3, 2), 40), ((1, 17), 128)], ids=str
)
def test_the_parts_of_a_decode_step(
    dtype: torch.dtype, most: float, heads: tuple[int, int], size: int
) -> None:
    found = decode_step_gpu.gaps(DEVICE, dtype, heads, size)
    assert max(found.values()) < most, found


@pytest.mark.parametrize(("dtype", "most"), KINDS, ids=str)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_entropies_and_their_gradients(
    dtype: torch.dtype, most: float, temperature: float
) -> None:
    assert logits_gpu.gap_to_torch(DEVICE, dtype, temperature) < most


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_draws_are_those_of_the_cumulative_distribution(temperature: float) -> None:
    for dtype, _ in KINDS:
        assert logits_gpu.gap_of_draws(DEVICE, dtype, temperature) < 1e-5


@pytest.mark.skipif(not IS_CARD, reason="there is no GPU")
def test_kernels_are_used_in_16_bits() -> None:
    assert decode_step_gpu.is_possible(torch.bfloat16, DEVICE, 64)
    assert not decode_step_gpu.is_possible(torch.float32, DEVICE, 64)
    weight = torch.zeros(8, 8, device=DEVICE, dtype=torch.bfloat16)
    assert logits_gpu.is_possible(weight, weight)
    assert not logits_gpu.is_possible(weight.float(), weight.float())
