"""Decode steps against the cache, in C and in torch: what a new token sees is what whole rows would show it."""

import pytest
import torch

import attended
from attended import Rows
from whet.models.gpt import GPT, GPTConfig
from whet.models.kv_cache import KVCache, Layout, Shape


@pytest.fixture(params=["in C", "in torch"], autouse=True)
def language(request, monkeypatch):
    attended.steps_in(request.param, monkeypatch)


def close(found, expected):
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)


# Five rows of three prompts, not in their order.
LENGTHS, PROMPT = (5, 11, 1), (1, 0, 1, 2, 1)


@pytest.fixture(scope="module")
def model():
    """With weights large enough that every token matters to every later one."""
    made = GPT(GPTConfig(vocab_size=50, context_length=24, num_layers=3, num_heads=4, width=32))
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.2)
    return made.requires_grad_(False)


def test_tokens_one_by_one_against_the_cache_give_the_states_of_the_whole_row(model):
    # Two samples of the first prompt and one of the second, which is shorter and padded.
    ids = torch.randint(0, 50, (3, 20), generator=torch.Generator().manual_seed(0))
    ids[1, :6] = ids[0, :6]
    whole = model(ids)
    cache = KVCache(model.sizes)
    cache.reserve(2, 6, 3, 10)
    prompts = torch.stack([ids[0, :6], torch.cat([ids[2, :4], torch.zeros(2, dtype=torch.int64)])])
    states = model(prompts, attend=cache.prefill(0))
    torch.testing.assert_close(states[0], whole[0, :6], rtol=0, atol=1e-5)
    row, start = torch.arange(3), torch.tensor([6, 6, 4])
    for step in range(10):
        at = start + step
        layout = attended.layout_of(cache, [0, 0, 1], [6, 4], [step] * 3)
        attend = cache.decode(layout, torch.full((3,), step))
        hidden = model(ids[row, at][:, None], at[:, None], attend)
        torch.testing.assert_close(hidden[:, 0], whole[row, at], rtol=0, atol=1e-5)
    assert (whole[0, 15] - whole[1, 15]).abs().max() > 0.1  # the samples are different ones


@pytest.mark.parametrize("sizes", [(1, 1, 8), (3, 1, 16), (2, 3, 24), (1, 8, 64), (2, 9, 16)], ids=str)
def test_a_new_token_sees_its_prompt_and_its_own_completion(sizes):
    rows = Rows(LENGTHS, PROMPT, sizes, tokens=18)
    cache = rows.filled()
    for t in range(18):
        close(rows.decode(cache, [t] * 5), rows.expected([t] * 5))


def test_rows_stand_at_different_tokens():
    rows = Rows(LENGTHS, PROMPT, tokens=20)
    cache = rows.cache()
    cache.reserve(3, 11, 5, 20)
    rows.prefill(cache, [1, 0, 2])  # as their rows come
    for t in range(20):  # row i comes 4 * i steps later
        here = range(t // 4 + 1)
        at, prompts = [t - 4 * i for i in here], [1, 0, 2][: len({PROMPT[i] for i in here})]
        close(rows.decode(cache, at, here, prompts), rows.expected(at, here))


def test_more_samples_of_a_prompt_than_are_computed_together():
    prompt = [0] * 37 + [1] + [2] * 16 + [0] * 3 + [1] * 17
    rows = Rows((9, 3, 16), prompt, tokens=3)
    cache = rows.filled()
    for t in range(3):
        close(rows.decode(cache, [t] * len(prompt)), rows.expected([t] * len(prompt)))


def test_rows_may_stand_in_any_order():
    prompt = torch.arange(40).remainder(3).tolist()
    rows = Rows((4, 10, 7), prompt, tokens=2)
    cache = rows.filled()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0)).tolist()
    for t in range(2):
        close(rows.decode(cache, [t] * 40, order), rows.expected([t] * 40, order))


def test_prompts_may_be_computed_in_parts():
    rows = Rows((3, 9, 12, 6), (3, 0, 2, 1), tokens=1)
    cache = rows.cache()
    cache.reserve(4, 12, 4, 1)
    rows.prefill(cache, [1, 2])
    rows.prefill(cache, [0, 3], first=2)
    close(rows.decode(cache, [0] * 4, prompts=[1, 2, 0, 3]), rows.expected([0] * 4))


def test_a_moved_row_goes_on_where_the_other_was():
    rows = Rows(LENGTHS, PROMPT)
    cache = rows.filled()
    for t in range(5):
        rows.decode(cache, [t] * 5)
    cache.own.move(torch.tensor([4, 3]), torch.tensor([0, 2]))  # rows 0 and 2 have ended
    left = [4, 1, 3]
    close(rows.decode(cache, [5] * 3, left), rows.expected([5] * 3, left))


def test_a_moved_prompt_serves_its_rows_from_where_the_other_was():
    rows = Rows((5, 11, 3), (1, 2, 1, 2), tokens=4)
    cache = rows.filled()
    for t in range(3):
        rows.decode(cache, [t] * 4)
    cache.prompts.move(torch.tensor([2]), torch.tensor([0]))  # prompt 0 has no row
    close(rows.decode(cache, [3] * 4, prompts=[2, 1]), rows.expected([3] * 4))


def test_a_completion_sees_nothing_of_a_longer_one_that_had_its_place():
    rows = Rows((4, 6), (0, 1, 1), tokens=12)
    cache = rows.filled()
    for t in range(12):
        rows.decode(cache, [t, t], [0, 1])
    close(rows.decode(cache, [12 - 1, 0], [0, 2]), rows.expected([11, 0], [0, 2]))


def test_a_prompt_hides_what_is_left_of_a_longer_one_that_had_its_place():
    rows = Rows((13, 2), (0, 1), tokens=1)
    cache = rows.cache()
    cache.reserve(1, 13, 1, 1)
    rows.prefill(cache, [0])
    rows.prefill(cache, [1])
    close(rows.decode(cache, [0], [1], [1]), rows.expected([0], [1]))


@pytest.mark.parametrize(
    "larger",
    [(3, 11, 9, 6), (3, 30, 5, 6), (3, 11, 5, 40), (7, 12, 6, 17)],
    ids=["rows", "prompt", "own", "all"],
)
def test_a_cache_that_grows_keeps_what_it_holds(larger):
    rows = Rows(LENGTHS, PROMPT)
    cache = rows.filled()
    for t in range(5):
        rows.decode(cache, [t] * 5)
    cache.reserve(*larger)
    close(rows.decode(cache, [5] * 5), rows.expected([5] * 5))


def test_a_cache_that_has_grown_has_room_for_longer_prompts_more_rows_and_longer_completions():
    rows = Rows((3, 21), (0, 1, 1), tokens=19)
    cache = rows.cache()
    cache.reserve(1, 3, 1, 2)
    rows.prefill(cache, [0])
    close(rows.decode(cache, [0], [0], [0]), rows.expected([0], [0]))
    cache.reserve(2, 21, 3, 19)
    rows.prefill(cache, [1], first=1)
    for t in range(18):
        close(rows.decode(cache, [t + 1, t, t]), rows.expected([t + 1, t, t]))


def test_less_room_than_there_is_takes_none_away():
    rows = Rows(LENGTHS, PROMPT)
    cache = rows.filled()
    cache.reserve(1, 1, 1, 1)
    close(rows.decode(cache, [0] * 5), rows.expected([0] * 5))


@pytest.mark.parametrize("language", ["in torch"], indirect=True)
def test_a_step_may_be_shaped_for_more_than_is_in_it():
    # Three rows of two prompts, in a step of 4 rows, 4 prompts, 8 samples of each, 16 and 8 tokens.
    rows = Rows((5, 9), (1, 0, 1), tokens=3)
    cache = rows.cache()
    cache.reserve(4, 16, 4, 8)
    rows.prefill(cache, [0, 1])
    layout = Layout([1, 0, 1], [5, 9], Shape(4, 4, 8, 16, 8), cache.own)
    for t in range(3):
        attend = cache.decode(layout, torch.tensor([t, t, t, 0]))
        for layer, expected in enumerate(rows.expected([t] * 3)):
            fed = (torch.stack([x[r][layer, t] for r in (0, 1, 2, 0)]) for x in (rows.q, rows.k, rows.v))
            close(attend(layer, *(x[:, None] for x in fed))[:3, 0], expected)
