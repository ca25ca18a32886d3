"""The engine over vLLM against a stand-in for vLLM: what is sent, what is proven, and every way to be betrayed."""

import os
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError

import peaked
from checkpoints import tiny_checkpoint
from processes import assert_ends
from vllm_stand_in import StandIn, serving
from whet import registry
from whet.engines import _vllm_remote
from whet.engines._vllm_remote import RemoteWorker, ServerProcess
from whet.engines._vllm_worker import Held
from whet.engines.vllm import Vllm, VllmEngine, weights_of
from whet.errors import ConfigError, DataError, EngineError, Interrupted
from whet.models.fingerprint import digest
from whet.policies.huggingface import HuggingFace
from whet.types import Request, SamplingParams

STAND_IN = Path(__file__).parents[1] / "vllm_stand_in.py"
CPU = torch.device("cpu")


@pytest.fixture
def policy():
    return HuggingFace(model=str(tiny_checkpoint())).build([], 0, CPU)


def requests(policy, samples=3):
    asked = peaked.requests(policy, samples=samples, prompts=["What is 2+2?", "Say a."])
    return [Request(prompt_ids=r.prompt_ids[:20], keys=r.keys) for r in asked]


def engine_of(policy, worker, **settings):
    return VllmEngine(policy, Vllm(**settings), lambda: worker)


def update(policy, size=0.02, seed=1):
    """What an optimizer does."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=noise) * size)
    policy.version += 1


@pytest.fixture(params=["in process", "over a server"])
def connect(request):
    """The worker that an engine sees, by the stand-in behind it."""
    made = []

    def connected(worker, timeout_s=20.0):
        if request.param == "in process":
            return worker
        made.append(serving(worker))
        return RemoteWorker(made[-1].__enter__(), timeout_s)

    return connected


# --- what is sampled ---


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_the_trainers_forward(policy, connect, temperature):
    asked = requests(policy)
    found = list(peaked.draw(engine_of(policy, connect(StandIn())), asked, temperature=temperature).values())
    batch = peaked.batch_of(asked, found, temperature)
    with torch.no_grad():
        gap = (policy.forward(batch).logprobs - batch.sampling_logprobs).abs().max()
    assert len(found) == 6
    assert batch.loss_mask.sum() > 50
    assert gap < 1e-5


def test_every_sample_knows_its_place_and_the_version_that_made_it(policy, connect):
    policy.version = 4
    found = peaked.draw(engine_of(policy, connect(StandIn())), requests(policy))
    assert sorted(found) == [(i, j) for i in range(2) for j in range(3)]
    assert {c.policy_version for c in found.values()} == {4}


def test_the_same_keys_draw_the_same_completions_again(policy, connect):
    engine, asked = engine_of(policy, connect(StandIn())), requests(policy)
    assert peaked.draw(engine, asked) == peaked.draw(engine, asked)


def test_greedy_tokens_are_those_of_the_engine_over_generate(policy, connect):
    asked = requests(policy, samples=1)
    theirs = registry.build("engines", "huggingface").build(policy)
    ours = peaked.draw(engine_of(policy, connect(StandIn())), asked, temperature=0.0)
    for place, other in peaked.draw(theirs, asked, temperature=0.0).items():
        assert (ours[place].token_ids, ours[place].text) == (other.token_ids, other.text)


def test_several_calls_in_a_step_sample_from_one_push_of_the_weights(policy, connect):
    worker = StandIn()
    engine, asked = engine_of(policy, connect(worker)), requests(policy, samples=1)
    pushes = []
    update_weights = worker.update
    worker.update = lambda *given: (pushes.append(1), update_weights(*given))[1]
    first = peaked.draw(engine, asked, max_completion_length=4)
    later = [
        Request(prompt_ids=r.prompt_ids + first[i, 0].token_ids + (5, 6), keys=r.keys)
        for i, r in enumerate(asked)
    ]
    found = list(peaked.draw(engine, later, max_completion_length=4).values())
    batch = peaked.batch_of(later, found, 1.0)
    with torch.no_grad():
        gap = (policy.forward(batch).logprobs - batch.sampling_logprobs).abs().max()
    assert gap < 1e-5
    assert len(pushes) == 1


def test_a_request_may_have_a_shorter_limit_of_its_own(policy, connect):
    (asked, _) = requests(policy)
    short = Request(prompt_ids=asked.prompt_ids, keys=asked.keys, max_completion_length=2)
    found = peaked.draw(engine_of(policy, connect(StandIn())), [asked, short], max_completion_length=5)
    assert max(len(found[0, i].token_ids) for i in range(3)) == 5
    assert {len(found[1, i].token_ids) for i in range(3)} <= {1, 2}


def test_a_stop_string_ends_a_completion_where_it_stands(policy, connect):
    worker = StandIn()
    engine, asked = engine_of(policy, connect(worker)), requests(policy)
    free = peaked.draw(engine, asked)
    letter = next(c.text[3] for c in free.values() if len(c.text) > 5 and c.text[3].strip())
    stopped = peaked.draw(engine, asked, stop=(letter,))
    cut = [p for p in free if letter in free[p].text]
    assert cut
    for place in cut:
        whole, part = free[place], stopped[place]
        assert part.token_ids == whole.token_ids[: len(part.token_ids)]
        assert part.text == whole.text[: whole.text.find(letter)]
        assert part.finish_reason == "stop"
    assert "cancel" in worker.calls


def test_a_completion_that_takes_too_long_ends_where_it_is(connect):
    policy, worker = peaked.constant([0.0, 1.0, 0.0]), StandIn()
    engine = engine_of(policy, connect(worker))
    found = peaked.draw(engine, peaked.requests(policy), timeout_s=1e-9)
    assert len(found) == 30
    assert {(c.token_ids, c.finish_reason) for c in found.values()} == {((1,), "timeout")}
    assert "cancel" in worker.calls


def test_a_completion_in_time_is_as_long_as_without_a_limit(policy, connect):
    engine, asked = engine_of(policy, connect(StandIn())), requests(policy)
    assert peaked.draw(engine, asked, timeout_s=60.0) == peaked.draw(engine, asked)


def test_every_token_is_told_as_it_is_sampled(policy, connect):
    told = {}
    engine, asked = engine_of(policy, connect(StandIn())), requests(policy)
    params = SamplingParams(max_completion_length=6)
    found = list(
        engine.generate(asked, params, on_token=lambda r, s, t: told.setdefault((r, s), []).append(t))
    )
    assert {(c.request, c.sample): list(c.token_ids) for c in found} == told


def test_it_is_interrupted_and_can_be_used_again(policy, connect):
    engine, asked, polls = engine_of(policy, connect(StandIn())), requests(policy), iter(range(100))
    with pytest.raises(Interrupted):
        list(engine.generate(asked, SamplingParams(max_completion_length=16), lambda: next(polls) == 2))
    assert next(polls) == 3
    assert len(peaked.draw(engine, asked)) == 6


def test_no_request_starts_nothing(policy):
    worker = StandIn()
    assert peaked.draw(engine_of(policy, worker), []) == {}
    assert worker.calls == []


def test_a_prompt_without_room_is_named(policy):
    with pytest.raises(DataError, match="shorten it, or lower max_completion_length"):
        peaked.draw(engine_of(policy, StandIn()), [Request(prompt_ids=(1,) * 200, keys=(1,))])


# --- which weights ---


def test_weights_are_sent_once_per_version(policy, connect):
    worker = StandIn()
    engine, asked = engine_of(policy, connect(worker)), requests(policy)
    for _ in range(2):
        peaked.draw(engine, asked, max_completion_length=1)
    update(policy)
    peaked.draw(engine, asked, max_completion_length=1)
    canary, sampled = "generate", "generate"
    assert worker.calls == ["load", "update", canary, sampled, sampled, "update", canary, sampled]


def test_an_update_is_seen_by_the_next_call(policy, connect):
    engine, asked = engine_of(policy, connect(StandIn())), requests(policy)
    before = peaked.draw(engine, asked)
    update(policy)
    after = peaked.draw(engine, asked)
    assert after == peaked.draw(engine_of(policy, StandIn()), asked)
    assert {c.policy_version for c in after.values()} == {1}
    assert {p: c.token_ids for p, c in before.items()} != {p: c.token_ids for p, c in after.items()}


def test_adapters_are_folded_into_what_is_sent(connect):
    policy = HuggingFace(model=str(tiny_checkpoint()), lora={"r": 2}).build([], 0, CPU)
    worker = StandIn()
    engine, asked = engine_of(policy, connect(worker)), requests(policy)
    plain = peaked.draw(engine, asked)
    update(policy, size=0.3)
    found = peaked.draw(engine, asked)
    assert {p: c.token_ids for p, c in plain.items()} != {p: c.token_ids for p, c in found.items()}
    batch = peaked.batch_of(asked, list(found.values()), 1.0)
    with torch.no_grad():
        assert (policy.forward(batch).logprobs - batch.sampling_logprobs).abs().max() < 1e-4


def test_a_policy_from_scratch_is_sent_as_its_gpt2_twin(connect):
    policy = peaked.policy()
    found = peaked.draw(engine_of(policy, connect(StandIn())), peaked.requests(policy), temperature=0.0)
    native = peaked.draw(
        registry.build("engines", "native").build(policy), peaked.requests(policy), temperature=0.0
    )
    assert {p: c.token_ids for p, c in found.items()} == {p: c.token_ids for p, c in native.items()}


def test_tied_tensors_are_sent_once(policy):
    names = set(weights_of(policy.module))
    assert policy.module.lm_head.weight is policy.module.get_input_embeddings().weight
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names


def test_a_policy_of_another_kind_is_refused():
    strange = SimpleNamespace(module=torch.nn.Linear(2, 2))
    with pytest.raises(
        DataError, match="needs a transformers model or a from_scratch policy, found a Linear"
    ):
        engine_of(strange, StandIn())


# --- trouble ---


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("says it is older", r"stale weights after the update: the policy is at version 0 .*has version -1"),
        (
            "has other weights",
            r"stale weights after the update: .*vLLM has version 0 \(checksum 000000000000",
        ),
        ("loses a layer", r"does not compute with version 0 .*canary prompt differ .* more than 0\.001"),
        ("raises while sampling", r"could not sample: RuntimeError: out of memory"),
        ("is updated by another", r"stale weights after sampling: .*Is another program updating"),
        ("forgets rows", r"left [1-6] of 6 completions unfinished"),
        ("gives up a row", r"gave up a completion after 3 of 16 tokens"),
    ],
)
def test_a_broken_promise_is_named(policy, connect, fault, message):
    with pytest.raises(EngineError, match=message):
        peaked.draw(engine_of(policy, connect(StandIn(fault))), requests(policy))


@pytest.mark.parametrize(
    ("size", "message"),
    [(0.05, "does not compute with version 1"), (1e-5, r"stale weights, those before version 1")],
)
def test_an_update_that_has_no_effect_is_noticed_be_it_small(policy, connect, size, message):
    engine = engine_of(policy, connect(StandIn("ignores updates")))
    peaked.draw(engine, requests(policy))
    update(policy, size)
    with pytest.raises(EngineError, match=message):
        peaked.draw(engine, requests(policy))


def test_a_small_update_that_arrives_is_no_reason_to_stop(policy, connect):
    engine = engine_of(policy, connect(StandIn()))
    for seed in range(4):
        peaked.draw(engine, requests(policy), max_completion_length=1)
        update(policy, 10.0 ** (-4 - seed), seed)


def test_a_wider_gap_can_be_allowed(policy):
    worker = StandIn("loses a layer")
    assert peaked.draw(engine_of(policy, worker, canary_tolerance=50.0), requests(policy))


def test_weights_that_are_damaged_on_the_way_are_refused(policy):
    with serving(StandIn()) as url:
        worker = RemoteWorker(url, 10.0)
        engine_of(policy, worker)._synchronised()
        tensors = weights_of(policy.module)
        right = Held(5, digest(tensors))
        tensors["model.norm.weight"] = tensors["model.norm.weight"] + 1
        with pytest.raises(EngineError, match=r"weights of version 5 .* arrived with checksum .* damaged"):
            worker.update(right, tensors)
        assert worker.held().version == 0


def test_a_server_that_hangs_is_named_with_its_time_limit(policy):
    with serving(StandIn("hangs in update")) as url:
        engine = engine_of(policy, RemoteWorker(url, 0.3))
        with pytest.raises(
            EngineError, match=r"did not answer /update within 0\.3 s: raise engine\.timeout_s"
        ):
            peaked.draw(engine, requests(policy))


def test_nobody_at_the_address_is_named(policy):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    engine = Vllm(url=f"http://127.0.0.1:{port}").build(policy)
    with pytest.raises(
        EngineError, match=rf"at http://127\.0\.0\.1:{port} was lost in /load: ConnectionRefused"
    ):
        peaked.draw(engine, requests(policy))


def test_a_server_of_another_kind_is_named(policy):
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        engine = Vllm(url=f"http://127.0.0.1:{server.server_port}").build(policy)
        with pytest.raises(EngineError, match=r"answered 501 .* expected a server of whet"):
            peaked.draw(engine, requests(policy))


def test_a_request_under_another_hosts_name_is_turned_away(policy):
    from http.client import HTTPConnection

    with serving(StandIn()) as url:
        connection = HTTPConnection(url.removeprefix("http://"))
        connection.request("GET", "/held", headers={"Host": "evil.example:80"})
        assert connection.getresponse().status == 404
        connection.close()


# --- a server that whet starts ---


@pytest.fixture
def started(monkeypatch):
    """A process of the stand-in; `faults` break promises."""
    processes = []

    def start(faults=""):
        monkeypatch.setattr(_vllm_remote, "SERVER", (str(STAND_IN),))
        monkeypatch.setenv("FAULTS", faults)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        processes.append(ServerProcess(sys.executable))
        return processes[-1]

    yield start
    for process in processes:
        process.end()
        process.log.unlink()


@pytest.mark.slow
def test_a_server_that_whet_started_samples_until_it_is_killed(policy, started):
    process = started()
    engine = engine_of(policy, RemoteWorker(process.url, 60.0, process))
    asked = requests(policy)
    assert peaked.draw(engine, asked) == peaked.draw(engine_of(policy, StandIn()), asked)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(EngineError, match=r"was lost in /held: .*exit code -9, log .*the stand-in serves"):
        peaked.draw(engine, asked)


def test_a_server_that_dies_is_named_with_its_last_words(policy, started):
    process = started("dies")
    engine = engine_of(policy, RemoteWorker(process.url, 60.0, process))
    with pytest.raises(
        EngineError, match=r"was lost in /load: .*exit code 7, log .*the stand-in serves.*Resume"
    ):
        peaked.draw(engine, requests(policy))


def test_a_server_ends_with_the_process_that_started_it(started):
    process = started()
    process.end()
    assert_ends(process.pid)


def test_a_python_without_the_server_is_named_with_what_it_said(policy, started, monkeypatch):
    monkeypatch.setattr(_vllm_remote, "SERVER", ("-m", "no_such_module"))
    with pytest.raises(
        EngineError, match=r"was lost in /load: .*exit code 1.*No module named no_such_module"
    ):
        peaked.draw(Vllm(python=sys.executable, timeout_s=60.0).build(policy), requests(policy))


def test_a_python_that_is_no_program_is_named(policy):
    with pytest.raises(EngineError, match=r"engine\.python: /no/python cannot be run"):
        peaked.draw(Vllm(python="/no/python").build(policy), requests(policy))


# --- settings ---


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8021", "http://10.0.0.1:8021", "https://localhost:1", "http://localhost"]
)
def test_only_a_server_on_this_machine_gets_weights(url):
    with pytest.raises(ValidationError, match="expected the address of a server on this machine"):
        Vllm(url=url)


def test_a_server_is_started_or_found_not_both():
    with pytest.raises(ValidationError, match="give one of them"):
        Vllm(url="http://127.0.0.1:8021", python="python")


def test_vllm_that_is_missing_is_named_with_the_ways_out(policy, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"vllm is not installed .*pip install vllm .*engine\.python"):
        Vllm().build(policy)
