"""RMSNorm, rotary embedding, SwiGLU and GELU in C, and their gradients, against their formulas in double precision."""

import pytest
import torch
from torch.nn.functional import gelu, silu

from whet import compiled
from whet.models import fused

pytestmark = pytest.mark.skipif(
    compiled.load("decode_step.c") is None, reason="this machine has no C compiler"
)
EPS = 1e-6


def numbers(*shapes):
    noise = torch.Generator().manual_seed(len(shapes))
    return [torch.randn(shape, generator=noise).requires_grad_() for shape in shapes]


def norm(x, more, weight):
    x = x if more is None else x + more
    return x, x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * weight


def rotated(x, cos, sin):
    return x * cos.unsqueeze(-2) + x.roll(x.shape[-1] // 2, -1) * sin.unsqueeze(-2)


def angles(tokens, size):
    angle = torch.rand(2, tokens, size // 2, generator=torch.Generator().manual_seed(0)) * 6
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def agree(function, formula, inputs, which=slice(None)):
    """Outputs and gradients of a weighted sum of the outputs in `which`; both sides get the same numbers."""
    exact_inputs = [None if x is None else x.detach().double().requires_grad_() for x in inputs]
    results = []
    for call, given in ((function, inputs), (formula, exact_inputs)):
        outputs = call(*given)
        outputs = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
        noise = torch.Generator().manual_seed(9)
        weights = [torch.randn(out.shape, generator=noise).to(out.dtype) for out in outputs]
        total = sum((w * out).sum() for w, out in list(zip(weights, outputs, strict=True))[which])
        asked = [x for x in given if x is not None]
        results.append([*(out.detach() for out in outputs), *torch.autograd.grad(total, asked)])
    for mine, exact in zip(*results, strict=True):
        assert mine.shape == exact.shape
        assert (mine - exact).abs().max() < 2e-6 * max(1, float(exact.abs().max()))


@pytest.mark.parametrize("which", [slice(None), slice(1, 2)], ids=["both outputs", "the norm alone"])
@pytest.mark.parametrize("has_more", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_norm(which, has_more, threads):
    x, more, weight = numbers((2, 13, 48), (2, 13, 48), (48,))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        agree(
            lambda x, more, weight: fused.Norm.apply(x, more, weight, EPS),
            norm, [x, more if has_more else None, weight], which,
        )  # fmt: skip
    finally:
        torch.set_num_threads(before)


def test_a_sum_whose_norm_is_not_used_passes_its_gradient_on():
    x, more, weight = numbers((3, 16), (3, 16), (16,))
    total, _ = fused.Norm.apply(x, more, weight, EPS)
    found = torch.autograd.grad(total.sum(), (x, more, weight), allow_unused=True)
    assert torch.equal(found[0], torch.ones(3, 16))
    assert torch.equal(found[1], torch.ones(3, 16))
    assert found[2] is None


@pytest.mark.parametrize(("q_heads", "kv_heads", "size"), [(4, 2, 16), (3, 3, 64)])
def test_rotary_embedding(q_heads, kv_heads, size):
    cos, sin = angles(11, size)
    q, k = numbers((2, 11, q_heads, size), (2, 11, kv_heads, size))
    agree(
        lambda q, k: fused.Rotate.apply(q, k, cos, sin),
        lambda q, k: (rotated(q, cos.double(), sin.double()), rotated(k, cos.double(), sin.double())),
        [q, k],
    )
    before = q.detach().clone()
    fused.Rotate.apply(q, k, cos, sin)
    assert torch.equal(q.detach(), before)


def test_swiglu():
    gate, up = numbers((2, 7, 40), (2, 7, 40))
    with torch.no_grad():
        gate *= 10  # far into both ends of the sigmoid
    agree(fused.SwiGLU.apply, lambda gate, up: silu(gate) * up, [gate, up])


def test_gelu():
    (x,) = numbers((3, 5, 24))
    with torch.no_grad():
        x *= 5  # both ends are reached
    agree(fused.gelu, lambda x: gelu(x, approximate="tanh"), [x])


def test_numbers_that_are_no_whole_vectors_go_through_torch():
    (x,) = numbers((3, 5))
    assert torch.equal(fused.gelu(x), gelu(x, approximate="tanh"))


def test_what_is_not_contiguous_is_read_rightly():
    gate, up = (x.detach().transpose(0, 1).requires_grad_() for x in numbers((16, 7), (16, 7)))
    agree(fused.SwiGLU.apply, lambda gate, up: silu(gate) * up, [gate, up])


@pytest.mark.parametrize("place", range(8))
def test_nan_passes_through(place):
    (x,) = numbers((2, 8))
    with torch.no_grad():
        x[0, place] = torch.nan
    assert fused.gelu(x).isnan().nonzero().tolist() == [[0, place]]
    assert fused.SwiGLU.apply(x, torch.ones(2, 8)).isnan().nonzero().tolist() == [[0, place]]
