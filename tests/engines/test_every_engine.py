"""What holds for every engine that samples from a policy."""

import dataclasses
import math

import pytest
import torch

import peaked
from whet.errors import DataError, Interrupted
from whet.seeding import uniform
from whet.types import SamplingParams


@pytest.fixture(scope="module")
def policy():
    return peaked.policy()


@pytest.fixture(params=peaked.ENGINES)
def build(request):
    """The engine of a policy."""
    return lambda policy, **settings: peaked.ENGINES[request.param](**settings).build(policy)


def test_every_sample_is_answered_once_and_knows_its_place(build, policy):
    asked = peaked.requests(policy)
    found = list(build(policy, max_rows=7).generate(asked, SamplingParams(max_completion_length=16)))
    places = [(c.request, c.sample) for c in found]
    assert sorted(places) == [(i, j) for i in range(6) for j in range(5)]
    assert all(len(c.logprobs) == len(c.token_ids) for c in found)


def test_no_request_gives_no_completion(build, policy):
    assert peaked.draw(build(policy), []) == {}


def test_token_number_t_is_drawn_by_number_t_of_its_key(build):
    # Probabilities 0.1, 0.2, 0.4 of the ids 0, 1, 2, and 0.025 of each of the other 12.
    policy = peaked.constant([0.1, 0.2, 0.4, 0.025])
    asked = peaked.requests(policy, samples=20, prompts=["1+1="])
    found = peaked.draw(build(policy), asked)
    for (_, sample), completion in found.items():
        for t, token in enumerate(completion.token_ids):
            u = uniform(asked[0].keys[sample], t)
            expected = 0 if u < 0.1 else 1 if u < 0.3 else 2 if u < 0.7 else 3 + int((u - 0.7) / 0.025)
            assert token == expected
            p = {0: 0.1, 1: 0.2, 2: 0.4}.get(token, 0.025)
            assert completion.logprobs[t] == pytest.approx(math.log(p), abs=1e-5)


# Both sides are float32: over 9,000 tokens each was as far from float64 as from the other, 5e-6 at logits of 10 and
# 1.4e-5 at logits of 25 / 0.7.
@pytest.mark.parametrize(("magnitude", "tolerance"), [(8.0, 1e-5), (20.0, 2e-5)])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampled_log_probabilities_are_those_of_the_trainers_forward(
    build, magnitude, tolerance, temperature
):
    policy = peaked.policy(magnitude)
    asked = peaked.requests(policy, samples=8)
    found = list(peaked.draw(build(policy, max_rows=11), asked, temperature=temperature).values())
    batch = peaked.batch_of(asked, found, temperature)
    with torch.no_grad():
        gap = (policy.forward(batch).logprobs - batch.sampling_logprobs).abs().max().item()
    assert batch.loss_mask.sum() > 100
    assert gap < tolerance


def test_greedy_log_probabilities_are_untempered(build, policy):
    asked = peaked.requests(policy, samples=1)
    found = list(peaked.draw(build(policy), asked, temperature=0.0).values())
    batch = peaked.batch_of(asked, found, 1.0)
    with torch.no_grad():
        torch.testing.assert_close(policy.forward(batch).logprobs, batch.sampling_logprobs, rtol=0, atol=1e-5)


def test_a_greedy_token_is_the_likeliest_one_after_what_came_before(build, policy):
    asked = peaked.requests(policy, samples=1)
    for completion in peaked.draw(build(policy), asked, temperature=0.0).values():
        ids = list(asked[completion.request].prompt_ids)
        for token in completion.token_ids:
            logits = policy.module.logits(policy.module(torch.tensor([ids]))[0, -1])
            assert token == logits.argmax().item()
            ids.append(token)


def test_few_rows_give_the_same_tokens_as_many(build, policy):
    asked = peaked.requests(policy)
    many, few = (peaked.draw(build(policy, max_rows=n), asked) for n in (64, 3))
    assert {p: c.token_ids for p, c in many.items()} == {p: c.token_ids for p, c in few.items()}


def test_a_completion_ends_with_end_of_text_or_at_its_length(build, policy):
    found = peaked.draw(build(policy), peaked.requests(policy, samples=10)).values()
    reasons = {c.finish_reason for c in found}
    assert reasons == {"stop", "length"}
    for c in found:
        assert (c.finish_reason == "stop") == (c.token_ids[-1] == 0)
        assert 0 not in c.token_ids[:-1]
        assert c.finish_reason == "stop" or len(c.token_ids) == 16
        assert c.text == policy.tokenizer.decode([t for t in c.token_ids if t])


def test_end_of_text_may_be_the_first_token(build):
    policy = peaked.constant([1.0, 0.0])
    for c in peaked.draw(build(policy), peaked.requests(policy)).values():
        assert (c.token_ids, c.logprobs, c.text, c.finish_reason) == ((0,), (0.0,), "", "stop")


def test_without_end_of_text_the_length_ends_it(build):
    policy = peaked.constant([0.0, 1.0, 0.0])
    for c in peaked.draw(build(policy), peaked.requests(policy), max_completion_length=3).values():
        assert (c.token_ids, c.finish_reason) == ((1, 1, 1), "length")


def test_one_token_is_a_completion(build, policy):
    found = peaked.draw(build(policy), peaked.requests(policy), max_completion_length=1).values()
    assert {len(c.token_ids) for c in found} == {1}


def test_a_request_may_have_a_shorter_limit_of_its_own(build):
    policy = peaked.constant([0.0, 1.0, 0.0])
    limits = [3, 1, 9, None, 5, 4]
    asked = [
        dataclasses.replace(r, max_completion_length=n)
        for r, n in zip(peaked.requests(policy), limits, strict=True)
    ]
    found = peaked.draw(build(policy, max_rows=7), asked, max_completion_length=8)
    for (request, _), completion in found.items():
        assert len(completion.token_ids) == min(limits[request] or 8, 8)
        assert completion.finish_reason == "length"


def test_prompts_that_fill_the_context_with_short_limits_go_beside_short_ones_with_long_limits(build):
    policy = peaked.policy()
    prompts = ["1" * 30, "7", "2" * 25, "1+1=", "3" * 31]
    limits = [2, 31, 7, 28, 1]
    asked = [
        dataclasses.replace(r, max_completion_length=n)
        for r, n in zip(peaked.requests(policy, prompts=prompts), limits, strict=True)
    ]
    found = peaked.draw(build(policy, max_rows=7), asked, max_completion_length=31)
    assert len(found) == 25
    batch = peaked.batch_of(asked, list(found.values()), 1.0)
    with torch.no_grad():
        gap = (policy.forward(batch).logprobs - batch.sampling_logprobs).abs().max()
    assert gap < 1e-5


def test_a_completion_that_takes_too_long_ends_where_it_is(build):
    policy = peaked.constant([0.0, 1.0, 0.0])
    found = peaked.draw(build(policy, max_rows=7), peaked.requests(policy), timeout_s=1e-9).values()
    assert len(found) == 30
    assert {(c.token_ids, c.finish_reason) for c in found} == {((1,), "timeout")}


@pytest.mark.parametrize("stop", [("7",), ("5", "*"), ("33", "8"), ("+", "-", "=")])
def test_a_stop_string_ends_the_tokens_after_it_and_the_text_before_it(build, policy, stop):
    asked = peaked.requests(policy, samples=8)
    free = peaked.draw(build(policy, max_rows=16), asked)
    stopped = peaked.draw(build(policy, max_rows=16), asked, stop=stop)
    shortened = 0
    for place, whole in free.items():
        text = whole.text
        ends = [text.find(s) + len(s) for s in stop if s in text]
        found = stopped[place]
        if not ends:
            assert found.token_ids == whole.token_ids
            continue
        shortened += 1
        assert found.token_ids == whole.token_ids[: min(ends)]  # a character is a token
        assert found.finish_reason == "stop"
        assert found.text == text[: min(text.find(s) for s in stop if s in text)]
    assert shortened > 2  # so there was something to cut


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "prompt 1 is empty: the first token needs one before it; write a text"),
        (
            "1" * 17,
            "prompt 1 has 17 tokens; with completions of up to 16 the context of 32 leaves 16: "
            "shorten it, or lower max_completion_length",
        ),
    ],
    ids=["empty", "long"],
)
def test_a_prompt_without_room_is_named_with_the_ways_out(build, policy, prompt, message):
    asked = peaked.requests(policy, prompts=["1+1=", prompt])
    with pytest.raises(DataError) as caught:
        peaked.draw(build(policy), asked)
    assert str(caught.value) == message


def test_prompt_and_completion_may_fill_the_context(build, policy):
    asked = peaked.requests(policy, prompts=["1" * 16, "2"])
    assert len(peaked.draw(build(policy), asked)) == 10


@pytest.mark.parametrize("poll", [1, 3])
def test_it_is_interrupted_at_the_poll_that_says_so(build, policy, poll):
    polls = iter(range(1, 100))
    engine = build(policy)
    generation = engine.generate(
        peaked.requests(policy), SamplingParams(max_completion_length=16), lambda: next(polls) == poll
    )
    with pytest.raises(Interrupted):
        list(generation)
    assert next(polls) == poll + 1
    assert len(peaked.draw(engine, peaked.requests(policy))) == 30  # and can be used again


def test_it_asks_at_least_once_per_token_whether_to_stop(build):
    policy, polls = peaked.constant([0.0, 1.0, 0.0]), []
    list(
        build(policy).generate(
            peaked.requests(policy), SamplingParams(max_completion_length=12), lambda: polls.append(1)
        )
    )
    assert len(polls) >= 12


def test_an_update_of_the_weights_is_seen_by_the_next_call(build):
    policy = peaked.policy()
    engine, asked = build(policy), peaked.requests(policy)
    before = peaked.draw(engine, asked)
    peaked.disturb(policy, seed=2)
    policy.version += 1
    after = peaked.draw(engine, asked)
    assert {c.policy_version for c in before.values()} == {0}
    assert {c.policy_version for c in after.values()} == {1}
    fresh = peaked.draw(build(policy), asked)
    assert after == fresh
    assert sum(before[p].token_ids != after[p].token_ids for p in before) > 5


def test_what_was_asked_before_changes_no_bit(build, policy):
    engine, asked = build(policy), peaked.requests(policy)
    first = peaked.draw(engine, asked, max_completion_length=4)
    peaked.draw(engine, peaked.requests(policy, samples=20))
    assert peaked.draw(engine, asked, max_completion_length=4) == first


def test_sampling_leaves_weights_gradients_and_the_global_generator_alone(build, policy):
    weights = [p.clone() for p in policy.module.parameters()]
    state = torch.get_rng_state()
    peaked.draw(build(policy), peaked.requests(policy))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(weights, policy.module.parameters(), strict=True))
    policy.forward(peaked.batch_of(*_one(build, policy), 1.0)).logprobs.sum().backward()
    assert policy.module.wte.weight.grad is not None
    policy.module.zero_grad()


def _one(build, policy):
    asked = peaked.requests(policy, samples=1)
    return asked, list(peaked.draw(build(policy), asked).values())
