"""What a GPU replays, on a CPU: the same static tensors, rounded shapes and late looks, with a recorder that calls."""

import pytest
import torch

import peaked
from whet.engines._flight import Deck
from whet.engines._graphs import Graphs, rounded
from whet.engines.native import Native
from whet.models import decode_step
from whet.models.kv_cache import Shape


class Recorder:
    """In place of a CUDA graph: keeps the step that it was given, and runs it again when replayed."""

    def __init__(self):
        self.recorded = 0
        self.replayed = 0

    def __call__(self, step):
        self.recorded += 1

        def replay():
            self.replayed += 1
            step()

        return replay


@pytest.fixture(autouse=True)
def in_torch(monkeypatch):
    """A GPU has no compiled steps."""
    monkeypatch.setattr(decode_step, "is_possible", lambda *_: False)


def replaying(policy, recorder, **settings):
    """An engine that replays, its tensors kept from call to call."""
    engine = Native(**settings).build(policy)
    decks = {}

    def deck(decoder, params):
        if params not in decks:
            decks[params] = Deck(decoder, params, Graphs(recorder))
        return decks[params]

    engine._deck = deck
    return engine


@pytest.mark.parametrize("max_rows", [64, 11])
@pytest.mark.parametrize("params", [{}, {"temperature": 0.0}, {"stop": ("7", "33")}], ids=str)
def test_replayed_steps_give_the_completions_of_plain_ones(params, max_rows):
    policy = peaked.policy()
    asked = peaked.requests(policy, samples=9)
    recorder = Recorder()
    plain = peaked.draw(Native(max_rows=max_rows).build(policy), asked, **params)
    found = peaked.draw(replaying(policy, recorder, max_rows=max_rows), asked, **params)
    assert recorder.replayed > 5
    assert found.keys() == plain.keys()
    for place, completion in plain.items():
        assert found[place].token_ids == completion.token_ids
        assert found[place].finish_reason == completion.finish_reason
        assert found[place].text == completion.text
        assert found[place].logprobs == pytest.approx(completion.logprobs, abs=1e-5)


def test_a_second_call_replays_what_the_first_has_recorded():
    policy, recorder = peaked.policy(), Recorder()
    engine, asked = replaying(policy, recorder), peaked.requests(policy, samples=9)
    first = peaked.draw(engine, asked)
    recorded = recorder.recorded
    assert peaked.draw(engine, asked) == first
    assert recorder.recorded <= recorded + 1  # of shapes that had only run once
    assert peaked.draw(engine, asked) == first
    assert recorder.replayed > 2 * recorder.recorded


def test_what_the_weights_have_become_is_seen_by_what_was_recorded():
    policy, recorder = peaked.policy(), Recorder()
    engine, asked = replaying(policy, recorder), peaked.requests(policy, samples=9)
    peaked.draw(engine, asked)
    peaked.disturb(policy, seed=2)
    fresh = peaked.draw(Native().build(policy), asked)
    after = peaked.draw(engine, asked)
    assert {p: c.token_ids for p, c in after.items()} == {p: c.token_ids for p, c in fresh.items()}


def test_every_token_is_told_once_and_none_beyond_the_end():
    policy, told = peaked.policy(), {}
    engine, asked = replaying(policy, Recorder(), max_rows=11), peaked.requests(policy, samples=9)

    def tell(request, sample, token):
        told.setdefault((request, sample), []).append(token)

    params = peaked.SamplingParams(max_completion_length=16)
    found = list(engine.generate(asked, params, on_token=tell))
    assert len(found) == 54
    assert all(tuple(told[c.request, c.sample]) == c.token_ids for c in found)


def test_a_completion_may_end_at_the_last_position_of_the_context():
    policy = peaked.constant([0.0, 1.0, 0.0])
    asked = peaked.requests(policy, prompts=["1" * 16])
    for completion in peaked.draw(replaying(policy, Recorder()), asked).values():
        assert completion.token_ids == (1,) * 16


def test_more_room_forgets_what_was_recorded_over_less():
    policy, recorder = peaked.policy(), Recorder()
    engine = replaying(policy, recorder)
    peaked.draw(engine, peaked.requests(policy, samples=2))
    many = peaked.requests(policy, samples=30)
    plain = peaked.draw(Native().build(policy), many)
    assert {p: c.token_ids for p, c in peaked.draw(engine, many).items()} == {
        p: c.token_ids for p, c in plain.items()
    }


def test_shapes_are_rounded_up_to_few():
    assert rounded(Shape(37, 5, 8, 129, 1)) == Shape(64, 8, 8, 256, 128)
    assert rounded(Shape(64, 8, 1, 128, 128)) == Shape(64, 8, 1, 128, 128)


def test_a_step_asks_nothing_of_the_host(monkeypatch):
    """Reading a number out of a tensor would end the recording of a graph."""
    policy = peaked.policy()
    engine = replaying(policy, Watched(monkeypatch))
    assert len(peaked.draw(engine, peaked.requests(policy, samples=9))) == 54


class Watched(Recorder):
    """Forbids, while a step runs, what would wait for a GPU."""

    def __init__(self, monkeypatch):
        super().__init__()
        self._monkeypatch = monkeypatch

    def __call__(self, step):
        def replay():
            with self._monkeypatch.context() as patch:
                for name in ("item", "tolist", "__bool__", "__int__", "__float__", "nonzero", "cpu", "numpy"):
                    patch.setattr(torch.Tensor, name, _refused(name))
                step()

        return replay


def _refused(name):
    def refuse(*_args, **_kwargs):
        raise AssertionError(f"a step called Tensor.{name}")

    return refuse
