"""Drawing tokens: frequencies, the ends of the unit interval, and what top-k, top-p and min-p leave."""

import math

import pytest
import torch

from whet import compiled
from whet.functional import sampling_in_c
from whet.functional.sampling import inverse_cdf, sample
from whet.seeding import uniforms
from whet.types import SamplingParams

needs_compiler = pytest.mark.skipif(
    compiled.load("sampling.c") is None, reason="this machine has no C compiler"
)
PROBS = [0.05, 0.4, 0.0, 0.1, 0.25, 0.2]
LOGITS = torch.tensor([PROBS]).log()


def support(**settings):
    """Tokens that a fine comb of uniform numbers draws, with the probabilities that they are given."""
    comb = torch.linspace(0, 1 - 2**-24, 4001)
    drawn = sample(LOGITS.expand(4001, -1), comb, SamplingParams(**settings))
    return {
        t: pytest.approx(math.exp(p), abs=1e-6) for t, p in zip(*(x.tolist() for x in drawn), strict=True)
    }


def test_frequencies_are_those_of_the_softmax():
    n = 20_000
    u = uniforms(torch.arange(n) * 7919 + 13, torch.zeros(n, dtype=torch.int64))
    tokens, _ = sample(LOGITS.expand(n, -1), u, SamplingParams())
    counts = torch.bincount(tokens, minlength=6).tolist()
    assert counts[2] == 0
    chi2 = sum((c - n * p) ** 2 / (n * p) for c, p in zip(counts, PROBS, strict=True) if p)
    assert chi2 < 18.47  # the 0.999 quantile of chi-square with 4 degrees of freedom


@pytest.mark.parametrize("number", [0.0, 2**-24, 0.5, 1 - 2**-24, math.nextafter(1, 0)])
def test_a_token_of_zero_probability_is_never_drawn(number):
    weights = torch.tensor([[0.0, 0.0, 1.0, 0.0, 3.0, 0.0, 0.0], [0.0, 1e-30, 0, 0, 0, 0, 0]])
    drawn = inverse_cdf(weights, torch.full((2,), number))
    assert (weights.gather(1, drawn[:, None]) > 0).all()


def test_the_cell_of_a_token_is_closed_below_and_open_above():
    # cumulative weights 1, 1, 4: [0, 1/4) is token 0, [1/4, 1) is token 2
    weights = torch.tensor([[1.0, 0.0, 3.0]]).expand(4, -1)
    assert inverse_cdf(weights, torch.tensor([0.0, 0.25 - 2**-24, 0.25, 0.99])).tolist() == [0, 0, 2, 2]


def test_rounding_in_a_large_vocabulary_never_draws_beyond_the_last_token_that_has_weight():
    weights = torch.cat([torch.full((1, 100_000), 1e-3), torch.zeros(1, 50_000)], dim=1)
    assert inverse_cdf(weights, torch.tensor([1 - 2**-24])).item() < 100_000


def test_a_large_vocabulary_is_searched_in_blocks_with_the_same_result():
    noise = torch.Generator().manual_seed(3)
    weights = torch.randint(0, 4, (64, 128 * 200), generator=noise).float()  # sums of it are exact in float32
    u = torch.randint(0, 2**24, (64,), generator=noise) * 2.0**-24
    u[:3] = torch.tensor([0.0, 0.5, 1 - 2**-24])
    cdf = weights.double().cumsum(-1)
    target = (u * cdf[:, -1].float()).double()
    expected = [int((row > t).nonzero()[0]) for row, t in zip(cdf, target, strict=True)]
    assert inverse_cdf(weights, u).tolist() == expected


@pytest.mark.parametrize("number", [0.0, 0.37, 1 - 2**-24])
def test_of_many_blocks_one_with_weight_is_drawn_and_a_token_with_weight_in_it(number):
    weights = torch.zeros(2, 128 * 200)
    weights[0, [700, 701, 9_000]] = torch.tensor([0.1, 1e-30, 0.3])
    weights[1] = torch.rand(128 * 200, generator=torch.Generator().manual_seed(4)).pow(40)
    drawn = inverse_cdf(weights, torch.full((2,), number))
    assert (weights.gather(1, drawn[:, None]) > 0).all()


def test_torch_reads_logits_of_16_bits_as_the_float32_that_they_are(monkeypatch):
    monkeypatch.setattr(sampling_in_c, "is_possible", lambda _: False)
    logits = torch.randn(40, 128 * 130, generator=torch.Generator().manual_seed(5)).bfloat16()
    u = uniforms(torch.arange(40), torch.zeros(40, dtype=torch.int64))
    narrow, wide = (sample(x, u, SamplingParams()) for x in (logits, logits.float()))
    assert torch.equal(narrow[0], wide[0]) and torch.equal(narrow[1], wide[1])
    assert narrow[1].dtype == torch.float32


def test_a_draw_depends_on_its_own_row_only():
    u = torch.tensor([0.1, 0.6, 0.9])
    together, _ = sample(LOGITS.expand(3, -1), u, SamplingParams())
    alone = [sample(LOGITS, u[i : i + 1], SamplingParams())[0].item() for i in range(3)]
    assert together.tolist() == alone == [1, 4, 5]  # cumulative 0.05, 0.45, 0.45, 0.55, 0.80, 1


def test_the_whole_distribution_is_drawn_with_its_own_probabilities():
    assert support() == {0: 0.05, 1: 0.4, 3: 0.1, 4: 0.25, 5: 0.2}


def test_top_k_leaves_the_k_likeliest_renormalised():
    assert support(top_k=2) == {1: 0.4 / 0.65, 4: 0.25 / 0.65}


def test_top_k_never_leaves_more_than_k_whatever_the_rounding():
    # In about half of these rows the five probabilities sum to a little less than 1 in float32.
    logits = torch.randn(2000, 50, generator=torch.Generator().manual_seed(2))
    likeliest = logits.topk(5).indices
    for number in (0.0, 0.3, 0.6, 0.9, 1 - 2**-24):
        tokens, _ = sample(logits, torch.full((2000,), number), SamplingParams(top_k=5))
        assert (tokens[:, None] == likeliest).any(-1).all()


def test_top_p_leaves_the_fewest_tokens_that_reach_the_share():
    # 0.4 < 0.6 <= 0.4 + 0.25
    assert support(top_p=0.6) == {1: 0.4 / 0.65, 4: 0.25 / 0.65}


def test_top_p_is_a_share_of_what_top_k_left():
    # top-k 2 leaves 0.615 and 0.385; 0.6 of that is reached by the first alone
    assert support(top_k=2, top_p=0.6) == {1: 1.0}


def test_top_p_keeps_the_likeliest_token_however_small_the_share():
    assert support(top_p=1e-9) == {1: 1.0}


def test_min_p_leaves_what_is_at_least_that_share_of_the_likeliest():
    # 0.3 * 0.4 = 0.12: 0.4, 0.25 and 0.2 stay
    assert support(min_p=0.3) == {1: 0.4 / 0.85, 4: 0.25 / 0.85, 5: 0.2 / 0.85}


def test_temperature_comes_before_top_p():
    # at T = 0.5 the weights are 0.16, 0.0625, 0.04, 0.01, 0.0025 of 0.275; 0.16 / 0.275 = 0.58 < 0.6
    assert support(temperature=0.5, top_p=0.58) == {1: 1.0}
    assert support(temperature=0.5, top_p=0.6).keys() == {1, 4}


@pytest.mark.parametrize(
    "settings",
    [{"top_k": 7}, {"top_p": 0.35}, {"min_p": 0.05}, {"top_k": 9, "top_p": 0.7, "min_p": 0.1}],
    ids=str,
)
def test_supports_are_those_of_transformers(settings):
    from transformers import LogitsProcessorList, MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    kinds = {"top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}
    warp = LogitsProcessorList(kinds[name](value) for name, value in settings.items())
    n, logits = 3000, torch.randn(1, 30, generator=torch.Generator().manual_seed(1)) * 2
    expected = warp(torch.zeros(1, 0, dtype=torch.int64), logits.clone()).log_softmax(-1)[0]
    u = uniforms(torch.arange(n), torch.zeros(n, dtype=torch.int64))
    tokens, logprobs = sample(logits.expand(n, -1), u, SamplingParams(**settings))
    torch.testing.assert_close(logprobs, expected[tokens], rtol=0, atol=1e-5)
    likely = {i for i, p in enumerate(expected.exp().tolist()) if p > 0.01}
    assert likely <= set(tokens.tolist())


def test_greedy_takes_the_largest_logit_and_its_untempered_log_probability():
    tokens, logprobs = sample(LOGITS, torch.tensor([0.99]), SamplingParams(temperature=0.0, top_k=3))
    assert tokens.item() == 1
    assert logprobs.item() == pytest.approx(math.log(0.4), abs=1e-6)


@needs_compiler
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("size", [1, 7, 8, 128, 131, 1000, 50_000])
def test_code_in_c_draws_what_torch_draws_with_its_log_probability(size, temperature, monkeypatch):
    noise = torch.Generator().manual_seed(size)
    logits = torch.randn(300, size, generator=noise) * 4
    logits[::3, ::2] = -torch.inf
    logits[:, -1] = 1.0
    u = uniforms(torch.arange(300), torch.zeros(300, dtype=torch.int64))
    params = SamplingParams(temperature=temperature)
    tokens, logprobs = sampling_in_c.draw(logits, u, temperature)
    monkeypatch.setattr(sampling_in_c, "is_possible", lambda _: False)
    expected, _ = sample(logits, u, params)
    exact = (logits.double() / temperature).log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    assert (tokens != expected).sum() <= (
        3 if size > 10_000 else 0
    )  # a number at the very edge of two tokens
    assert (logprobs - exact).abs().max() < 3e-6


@needs_compiler
@pytest.mark.parametrize("number", [0.0, 2**-24, 0.5, 1 - 2**-24, 1.0])
@pytest.mark.parametrize("size", [3, 300, 1024])
def test_code_in_c_never_draws_a_token_of_zero_probability(size, number):
    logits = torch.full((3, size), -torch.inf)
    logits[0, [1, size - 1]], logits[1, 0], logits[2, size // 2] = 0.0, 3.0, -80.0
    tokens, _ = sampling_in_c.draw(logits, torch.full((3,), number), 1.0)
    assert logits.gather(1, tokens[:, None]).isfinite().all()


@needs_compiler
@pytest.mark.parametrize("odd", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 5, 16])
def test_what_is_no_distribution_has_no_log_probability(odd, place):
    logits = torch.zeros(3, 17)
    logits[1, place], logits[2] = odd, -torch.inf
    tokens, logprobs = sampling_in_c.draw(logits, torch.full((3,), 0.9), 1.0)
    assert logprobs.isfinite().tolist() == [True, False, False]
    assert tokens[1:].tolist() == [0, 0]


@needs_compiler
def test_no_bit_of_a_draw_depends_on_threads_or_on_other_rows():
    logits = torch.randn(37, 700, generator=torch.Generator().manual_seed(1))
    u = uniforms(torch.arange(37), torch.zeros(37, dtype=torch.int64))
    whole, before = sampling_in_c.draw(logits, u, 1.0), torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            for some in (slice(0, 1), slice(4, 9), slice(36, 37)):
                part = sampling_in_c.draw(logits[some], u[some], 1.0)
                assert torch.equal(part[0], whole[0][some]) and torch.equal(part[1], whole[1][some])
    finally:
        torch.set_num_threads(before)
