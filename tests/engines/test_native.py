"""What the native engine computes, and what it does not compute twice."""

import gc
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

import attended
import peaked
from whet.engines import _flight
from whet.engines.native import Native
from whet.errors import DataError
from whet.functional import logprobs
from whet.functional.sampling import sample
from whet.policies.from_scratch import FromScratch
from whet.types import SamplingParams


@pytest.fixture(scope="module")
def policy():
    return peaked.policy()


@contextmanager
def inputs_of(policy):
    """Shapes of the token ids that go through the module."""
    shapes = []
    hook = policy.module.wte.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    yield shapes
    hook.remove()


def test_a_prompt_is_computed_once_for_all_its_samples(policy):
    with inputs_of(policy) as shapes:
        peaked.draw(Native().build(policy), peaked.requests(policy, samples=9), max_completion_length=4)
    assert shapes[0] == (6, 11)  # six prompts, as wide as the longest
    assert all(width == 1 for _, width in shapes[1:])


def test_a_step_computes_the_rows_that_are_still_alive(policy):
    with inputs_of(policy) as shapes:
        found = peaked.draw(Native().build(policy), peaked.requests(policy, samples=9))
    lengths = [len(c.token_ids) for c in found.values()]
    # The prefill samples token 1; step s feeds token s of every row that has one more to come.
    assert [rows for rows, _ in shapes[1:]] == [sum(n > s for n in lengths) for s in range(1, max(lengths))]
    assert min(lengths) < max(lengths)


def test_never_more_rows_than_it_may_have_are_in_flight(policy):
    with inputs_of(policy) as shapes:
        found = peaked.draw(Native(max_rows=8).build(policy), peaked.requests(policy, samples=9))
    assert max(rows for rows, width in shapes if width == 1) == 8
    assert len(found) == 54


def test_free_rows_are_filled_again_before_the_last_row_ends():
    policy = peaked.constant([0.2, 0.8 / 14])  # lengths of 5 on average and of 16 at most
    asked = peaked.requests(policy, samples=9)
    with inputs_of(policy) as shapes:
        found = peaked.draw(Native(max_rows=8).build(policy), asked)
    lengths = [len(found[i, j].token_ids) for i in range(6) for j in range(9)]
    batch_after_batch = sum(max(lengths[i : i + 8]) - 1 for i in range(0, 54, 8))
    assert sum(width == 1 for _, width in shapes) < 0.8 * batch_after_batch


def test_short_completions_come_before_long_ones(policy):
    found = list(peaked.draw(Native().build(policy), peaked.requests(policy)).values())
    lengths = [len(c.token_ids) for c in found]
    assert lengths == sorted(lengths)


def wide_policy():
    """A policy of two layers, and its matrices."""
    settings = FromScratch(num_layers=2, num_heads=4, width=128, context_length=16)
    policy = settings.build(["0123456789+-*="], 0, torch.device("cpu"))
    return policy, [p for p in policy.module.h.parameters() if p.dim() == 2]


def begun(policy):
    """A generation that has taken steps and is to take more."""
    asked = peaked.requests(policy, 4, ["1+1="])
    generation = Native().build(policy).generate(asked, SamplingParams(max_completion_length=8))
    while len(next(generation).token_ids) == 1:
        pass
    return generation


def test_it_samples_from_the_trainers_own_tensors(monkeypatch):
    attended.steps_in("in torch", monkeypatch)
    policy, matrices = wide_policy()
    held, before = [p.data_ptr() for p in policy.module.parameters()], numbers_held()
    generation = begun(policy)
    during = {where: size for where, size in numbers_held().items() if where not in before}
    assert sum(during.values()) > 0  # it has keys and values at least
    assert max(during.values()) < min(p.numel() for p in matrices) == 128 * 128
    assert sum(during.values()) < sum(p.numel() for p in matrices) / 10
    list(generation)
    assert [p.data_ptr() for p in policy.module.parameters()] == held


def test_in_c_it_has_one_copy_of_the_matrices_until_the_call_ends(monkeypatch):
    attended.steps_in("in C", monkeypatch)
    policy, matrices = wide_policy()
    before = numbers_held()
    generation = begun(policy)
    during = sum(size for where, size in numbers_held().items() if where not in before)
    assert 1.0 < during / sum(p.numel() for p in matrices) < 1.2
    list(generation)
    del generation
    gc.collect()
    assert sum(size for where, size in numbers_held().items() if where not in before) < 128 * 128


def numbers_held():
    """How many numbers are behind every tensor that is alive, by where they lie."""
    tensors = [o for o in gc.get_objects() if type(o) in (torch.Tensor, torch.nn.Parameter)]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() // t.element_size() for t in tensors}


def test_a_module_of_another_kind_is_refused_with_the_way_out():
    other = SimpleNamespace(module=torch.nn.Linear(2, 2))
    with pytest.raises(DataError, match="transformers model or a from_scratch policy"):
        Native().build(other)


def test_logits_of_many_rows_are_held_a_part_at_a_time_with_the_same_outcome(policy, monkeypatch):
    asked = peaked.requests(policy, samples=9)
    whole = peaked.draw(Native().build(policy), asked)
    held, rows = [], 5
    monkeypatch.setattr(logprobs, "MAX_LOGITS", rows * policy.module.config.vocab_size)
    monkeypatch.setattr(
        _flight, "sample", lambda logits, *rest: held.append(len(logits)) or sample(logits, *rest)
    )
    parts = peaked.draw(Native().build(policy), asked)
    assert max(held) == rows
    assert {at: c.token_ids for at, c in parts.items()} == {at: c.token_ids for at, c in whole.items()}
    assert all(c.logprobs == pytest.approx(whole[at].logprobs, abs=1e-6) for at, c in parts.items())
