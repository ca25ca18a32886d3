"""The compiled parts of a decode step against torch in float64, and against transformers' rotary embedding."""

import pytest
import torch
from torch.nn.functional import silu
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

import attended
from attended import CPU, Rows
from whet.models import decode_step

HEAD_SIZES = [8, 16, 32, 64, 80, 128]


@pytest.fixture(autouse=True)
def compiler(monkeypatch):
    attended.steps_in("in C", monkeypatch)


@pytest.fixture
def threads():
    """Sets how many threads torch has, and after the test as many as before."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(found, expected, **tolerance):
    torch.testing.assert_close(found.double(), expected, **{"rtol": 0, "atol": 2e-6, **tolerance})


def decoded(rows, steps):
    """What every token of every row sees, `[steps, layers, n, H, D/H]`."""
    cache = rows.filled()
    return torch.stack([rows.decode(cache, [t] * len(rows.prompt)) for t in range(steps)])


# --- attention ---


@pytest.mark.parametrize("grouped", range(1, 10))
@pytest.mark.parametrize("size", HEAD_SIZES)
def test_attention_is_the_softmax_over_prompt_and_completion(size, grouped):
    rows = Rows((9, 2), (0, 1, 0), (2, grouped, size), tokens=2)
    expected = torch.stack([rows.expected([t] * 3) for t in range(2)])
    close(decoded(rows, 2), expected, atol=4e-6)


# Scores are exact here, q = 4 e_1 and k = score * e_1 over sqrt(16), so that only the softmax rounds.
@pytest.mark.parametrize(
    ("prompt", "own"),
    [
        (torch.linspace(-80, 80, 33), torch.linspace(-80, 80, 5)),
        (torch.full((9,), -80.0), torch.full((3,), -80.0)),
        (torch.full((9,), 80.0), torch.full((3,), 80.0)),
        (torch.full((9,), -80.0), torch.tensor([-80.0, 80.0])),
        (torch.tensor([80.0, *[-80.0] * 8]), torch.tensor([-80.0])),
        (torch.linspace(-80, -79, 17), torch.linspace(-79.5, -79, 11)),
        (torch.tensor([3.0, 80.0]), torch.tensor([79.0, 80.0, 79.5])),
    ],
    ids=["all", "low", "high", "newest", "first", "close", "few"],
)
def test_scores_of_minus_80_to_80_round_no_weight_away(prompt, own):
    rows = Rows((len(prompt),), (0,), (1, 1, 16), tokens=len(own))
    for q, k, scores in ((rows.prompt_q[0], rows.prompt_k[0], prompt), (rows.q[0], rows.k[0], own)):
        q.zero_()[..., 0] = 4.0
        k.zero_()[..., 0] = scores[:, None]
    expected = torch.stack([rows.expected([t]) for t in range(len(own))])
    close(decoded(rows, len(own)), expected, atol=1e-6)


@pytest.mark.parametrize("size", HEAD_SIZES)
def test_large_random_scores_leave_the_error_of_their_own_rounding(size):
    rows = Rows((40,), (0, 0), (2, 3, size), tokens=3)
    for q in rows.q:
        q.mul_(25.0)  # scores of 25 times a normal number
    expected = torch.stack([rows.expected([t] * 2) for t in range(3)])
    close(decoded(rows, 3), expected, atol=1e-4)


@pytest.mark.parametrize("size", HEAD_SIZES)
def test_a_first_token_after_a_prompt_of_one_token_weighs_the_two(size):
    rows = Rows((1,), (0,), (1, 1, size), tokens=1)
    q, keys = rows.q[0][:, 0, 0].double(), (rows.prompt_k[0], rows.k[0])
    scores = torch.stack([(q * k[:, 0, 0].double()).sum(-1) * size**-0.5 for k in keys])
    share = 1 / (1 + (scores[1] - scores[0]).exp())[:, None]  # of the prompt's token
    expected = share * rows.prompt_v[0][:, 0, 0] + (1 - share) * rows.v[0][:, 0, 0]
    close(decoded(rows, 1)[0, :, 0, 0], expected)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "prompt", [[0] * 37 + [1] * 3, [1, 0, 2] * 7, [0]], ids=["tiles", "mixed", "one row"]
)
def test_two_and_three_threads_give_the_bits_of_one(threads, count, prompt):
    rows = Rows((19, 8, 5)[: max(prompt) + 1], prompt, (2, 3, 32), tokens=4)
    threads(1)
    alone = decoded(rows, 4)
    threads(count)
    assert torch.equal(decoded(rows, 4), alone)


# --- norm ---


@pytest.mark.parametrize("width", [8, 16, 80, 896])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_norm_divides_by_the_root_of_the_mean_square(width, scale):
    x, weight = noise(7, 1, width) * scale, noise(width, seed=1)
    whole = x.double()
    expected = whole / (whole.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight.double()
    before = x.clone()
    close(decode_step.rms_norm(x, None, weight, 1e-6), expected, rtol=2e-6)
    assert torch.equal(x, before)


@pytest.mark.parametrize("width", [8, 16, 80, 896])
def test_the_norm_adds_what_it_is_given_to_its_input_and_takes_the_norm_of_the_sum(width):
    x, more, weight = noise(7, 1, width), noise(7, 1, width, seed=1) * 3, noise(width, seed=2)
    total, kept = x + more, more.clone()
    whole = total.double()
    expected = whole / (whole.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    close(decode_step.rms_norm(x, more, weight, 1e-5), expected, rtol=2e-6)
    assert torch.equal(x, total)
    assert torch.equal(more, kept)


def test_the_norm_of_each_head_is_its_own():
    heads, weight = noise(5, 1, 6, 32) * torch.arange(1, 7)[:, None], noise(32, seed=1)
    whole = heads.double()
    expected = whole / (whole.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight.double()
    close(decode_step.rms_norm(heads, None, weight, 1e-6), expected, rtol=2e-6)


def test_the_norm_of_zeros_is_zero():
    assert not decode_step.rms_norm(torch.zeros(2, 16), None, noise(16), 1e-6).any()


# --- rotary embedding ---


@pytest.mark.parametrize("size", [size for size in HEAD_SIZES if size % 16 == 0])
@pytest.mark.parametrize("grouped", [1, 7])
def test_rotation_is_that_of_transformers(size, grouped):
    kv_heads, rows = 3, 5
    q, k = noise(rows, 1, kv_heads * grouped, size), noise(rows, 1, kv_heads, size, seed=1)
    angles = noise(rows, 1, size // 2, seed=2) * 100
    cos, sin = (torch.cat((x, x), -1) for x in (angles.cos(), angles.sin()))
    expected = apply_rotary_pos_emb(*(x.double() for x in (q, k, cos, sin)), unsqueeze_dim=2)
    negated = torch.cat((-sin[..., : size // 2], sin[..., size // 2 :]), -1)
    decode_step.rotate(q, k, cos, negated)
    for found, wanted in zip((q, k), expected, strict=True):
        close(found, wanted, atol=1e-6)


# --- gate ---


def test_the_gate_is_silu_times_up_from_minus_100_to_100():
    gate = torch.cat(
        (torch.linspace(-100, 100, 20_000), torch.tensor([0.0, -0.0, 1e-30, -1e-30, 88, -88, 1, -1]))
    )
    up = noise(len(gate)) * 5
    expected = silu(gate.double()) * up.double()
    # Below e^-87 the sigmoid is 0, which leaves 88 * e^-87 at most: 1.5e-36, times |up| < 25.
    close(decode_step.swiglu(gate.clone(), up), expected, rtol=1e-6, atol=5e-35)


def test_the_gate_is_overwritten_and_up_is_kept():
    gate, up = noise(3, 1, 48), noise(3, 1, 48, seed=1)
    kept = up.clone()
    found = decode_step.swiglu(gate, up)
    assert found.data_ptr() == gate.data_ptr()
    assert torch.equal(up, kept)


# --- what there is compiled code for ---


@pytest.mark.parametrize(
    ("dtype", "device", "sizes"),
    [
        (torch.bfloat16, CPU, (64,)),
        (torch.float64, CPU, (64,)),
        (torch.float32, torch.device("meta"), (64,)),
        (torch.float32, CPU, (64, 12)),
    ],
    ids=["bf16", "float64", "device", "size"],
)
def test_other_numbers_devices_and_sizes_are_left_to_torch(dtype, device, sizes):
    assert decode_step.is_possible(torch.float32, CPU, 64, 8)
    assert not decode_step.is_possible(dtype, device, *sizes)
