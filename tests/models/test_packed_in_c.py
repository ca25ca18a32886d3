"""Packed attention in C and its gradients against a dense mask in double precision."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from whet import compiled
from whet.models import packed_in_c
from whet.models.packed_attention import Packing
from whet.models.packing import _attention

pytestmark = pytest.mark.skipif(
    compiled.load("packed_attention.c") is None, reason="this machine has no C compiler"
)
CASES = {
    "ragged": ([5, 70, 3, 7, 4], [3, 40, 1, 4, 4, 90], [0, 0, 1, 1, 2, 3]),
    "long": ([300], [200, 131, 9], [0, 0, 0]),
    "prompts alone": ([9, 1, 16], [], []),
    "one token": ([1], [1], [0]),
}


def spans(case):
    return [torch.tensor(part, dtype=torch.int64) for part in CASES[case]]


def dense_mask(case):
    """Who sees whom, token by token."""
    prompts, completions, owners = CASES[case]
    tokens = [(i, i, t) for i, n in enumerate(prompts) for t in range(n)]
    for j, (n, owner) in enumerate(zip(completions, owners, strict=True)):
        tokens += [(len(prompts) + j, owner, prompts[owner] + t) for t in range(n)]
    span, prompt, position = torch.tensor(tokens).T
    return ((span == span[:, None]) | (span == prompt[:, None])) & (position <= position[:, None])


def heads(case, size, *counts):
    noise, tokens = torch.Generator().manual_seed(size), sum(map(sum, CASES[case][:2]))
    return [torch.randn(tokens, count, size, generator=noise).requires_grad_() for count in counts]


def attention_in_c(case, q, k, v, scale=None):
    return packed_in_c.Spans.of(*spans(case)).attend(q, k, v, scale)


def dense(case, q, k, v, scale=None):
    grouped = q.shape[1] // k.shape[1]
    q, k, v = q.transpose(0, 1), *(x.repeat_interleave(grouped, 1).transpose(0, 1) for x in (k, v))
    return scaled_dot_product_attention(q, k, v, attn_mask=dense_mask(case), scale=scale).transpose(0, 1)


def with_gradients(attention, case, tensors, scale=None):
    """Output and the gradients of a weighted sum of it."""
    out = attention(case, *tensors, scale)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, tensors, weights)]


@pytest.mark.parametrize("scale", [None, 0.7])
@pytest.mark.parametrize(("size", "q_heads", "kv_heads"), [(8, 4, 2), (32, 4, 4), (64, 14, 2), (40, 3, 1)])
@pytest.mark.parametrize("case", CASES)
def test_output_and_gradients_are_those_of_a_dense_mask(case, size, q_heads, kv_heads, scale):
    tensors = heads(case, size, q_heads, kv_heads, kv_heads)
    found = with_gradients(attention_in_c, case, tensors, scale)
    theirs = with_gradients(dense, case, tensors, scale)
    doubles = [x.detach().double().requires_grad_() for x in tensors]
    for mine, torchs, exact in zip(found, theirs, with_gradients(dense, case, doubles, scale), strict=True):
        rounding = (torchs - exact).abs().max()  # of float32, as torch does it
        assert (mine - exact).abs().max() < 3 * rounding + 1e-5 * max(1, float(exact.abs().max()))


@pytest.mark.parametrize("threads", [2, 3])
def test_no_bit_depends_on_the_threads(threads):
    tensors, before = heads("ragged", 16, 4, 2, 2), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = with_gradients(attention_in_c, "ragged", tensors)
        torch.set_num_threads(threads)
        together = with_gradients(attention_in_c, "ragged", tensors)
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, alone, together))


@pytest.mark.parametrize("change", [torch.Tensor.double, torch.Tensor.bfloat16, lambda x: x[..., :6]])
def test_what_has_no_code_in_c_goes_through_torch(change, monkeypatch):
    used = []
    monkeypatch.setattr(Packing, "attend", lambda *_: used.append(1))
    attend = _attention(*spans("ragged"), torch.device("cpu"))
    attend(0, *(change(x.detach())[None] for x in heads("ragged", 8, 4, 2, 2)))
    assert used == [1]


@pytest.mark.parametrize("token", range(6))
def test_a_key_that_is_nan_shows_in_all_that_see_it(token):
    q, k, v = heads("ragged", 8, 2, 2, 2)
    with torch.no_grad():
        k[token] = torch.nan
    sees = dense_mask("ragged")[:, token]
    assert torch.equal(attention_in_c("ragged", q, k, v).isnan().all(-1).all(-1), sees)
