"""The server as its clients see it: the `openai` package, and bare HTTP for what that would not send."""

import http.client
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from served import ANSWER, served_chat, served_gpt
from whet.errors import ConfigError, Interrupted
from whet.seeding import key
from whet.serving.http import MAX_BODY_BYTES
from whet.serving.server import listen, running
from whet.types import Request, SamplingParams

HELLO = [{"role": "user", "content": "1+2?"}]
JSON = {"Content-Type": "application/json"}


def client(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def sums(gpt_url):
    with client(gpt_url) as found:
        yield found


@pytest.fixture(scope="module")
def assistant(chat_url):
    with client(chat_url) as found:
        yield found


def send(url, method, path, content=None, headers=JSON):
    """Status and JSON of one request."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def drawn(gpt, prompt, seed, n=1, **sampling):
    """What the engine itself draws with the keys of a seed, in order."""
    ids = tuple(gpt.policy.tokenizer.encode(prompt))
    asked = Request(prompt_ids=ids, keys=tuple(key(seed, "generate", 0, j) for j in range(n)))
    params = SamplingParams(**{"max_completion_length": 8, **sampling})
    return sorted(gpt.engine.generate([asked], params), key=lambda c: c.sample)


# --- completions ---


def test_a_completion_is_what_the_engine_draws(sums, gpt):
    answer = sums.completions.create(model="sums", prompt="1+2=", n=3, seed=5, logprobs=0, temperature=0.8)
    expected = drawn(gpt, "1+2=", 5, n=3, temperature=0.8)
    assert [c.text for c in answer.choices] == [c.text for c in expected]
    assert [c.finish_reason for c in answer.choices] == [c.finish_reason for c in expected]
    for choice, completion in zip(answer.choices, expected, strict=True):
        assert choice.logprobs.token_logprobs == pytest.approx(completion.logprobs, abs=1e-6)
        assert len(choice.logprobs.tokens) == len(completion.token_ids)
    sampled = sum(len(c.token_ids) for c in expected)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, sampled)
    assert answer.usage.total_tokens == 4 + sampled
    assert (answer.object, answer.model, answer.system_fingerprint) == ("text_completion", "sums", "fp_1")
    assert abs(answer.created - time.time()) < 600


def test_temperature_0_is_greedy(sums, gpt):
    answer = sums.completions.create(model="sums", prompt="7", temperature=0)
    assert answer.choices[0].text == drawn(gpt, "7", 0, temperature=0.0)[0].text


def test_choices_of_several_prompts_come_in_their_order(sums):
    together = sums.completions.create(model="sums", prompt=["1+1=", "9"], n=2, temperature=0)
    alone = [
        sums.completions.create(model="sums", prompt=p, temperature=0).choices[0].text for p in ("1+1=", "9")
    ]
    assert [c.text for c in together.choices] == [alone[0], alone[0], alone[1], alone[1]]
    assert [c.index for c in together.choices] == [0, 1, 2, 3]


def test_offsets_say_where_each_token_begins(sums):
    logprobs = sums.completions.create(model="sums", prompt="1+", logprobs=0, seed=1).choices[0].logprobs
    # One character a token; an end-of-text token, the last one, has none.
    assert logprobs.text_offset == list(range(len(logprobs.tokens)))


def test_a_streamed_completion_is_the_same_text(sums):
    asked = {"model": "sums", "prompt": "1+2=", "n": 3, "seed": 5, "stop": ["3", "12"]}
    whole = sums.completions.create(**asked)
    texts, reasons, usage = ["", "", ""], [None, None, None], None
    for chunk in sums.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [c.text for c in whole.choices]
    assert reasons == [c.finish_reason for c in whole.choices]
    assert usage == whole.usage


def test_the_client_of_the_page_on_serving_works(gpt_url, capsys):
    page = (Path(__file__).parents[2] / "docs/serving.md").read_text()
    code = re.search(r"```python\n(# ask\.py\n.*?)```", page, re.DOTALL)[1]
    exec(code.replace("http://127.0.0.1:8000", gpt_url), {})
    assert re.match(r"\[('.*?', ){3}'.*?'\] \d+\n", capsys.readouterr().out)


# --- chat ---


def test_an_assistant_answers(assistant):
    answer = assistant.chat.completions.create(model="assistant", messages=HELLO, n=2, logprobs=True)
    assert [c.message.content for c in answer.choices] == [ANSWER, ANSWER]
    assert {(c.message.role, c.finish_reason) for c in answer.choices} == {("assistant", "stop")}
    entries = answer.choices[0].logprobs.content
    assert bytes(b for e in entries[:-1] for b in e.bytes).decode() == ANSWER
    assert {e.logprob for e in entries} == {0.0}
    assert answer.object == "chat.completion"


def test_an_answer_that_is_cut_says_so(assistant):
    answer = assistant.chat.completions.create(model="assistant", messages=HELLO, max_completion_tokens=1)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 1


def test_a_streamed_chat_opens_with_the_role_and_ends_with_the_reason(assistant):
    chunks = list(assistant.chat.completions.create(model="assistant", messages=HELLO, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == ANSWER
    assert [c.choices[0].finish_reason for c in chunks][-2:] == [None, "stop"]
    assert {c.object for c in chunks} == {"chat.completion.chunk"}
    assert len({c.id for c in chunks}) == 1


def test_characters_of_several_tokens_stream_whole():
    with running(served_chat("π ≈ 3.14 😀")) as url, client(url) as found:
        chunks = found.chat.completions.create(model="assistant", messages=HELLO, stream=True)
        pieces = [c.choices[0].delta.content or "" for c in chunks]
    assert "".join(pieces) == "π ≈ 3.14 😀"
    assert not [p for p in pieces if "\ufffd" in p]


# --- models, health and mistakes ---


def test_the_model_is_listed_and_shown(sums):
    assert [m.id for m in sums.models.list()] == ["sums"]
    assert sums.models.retrieve("sums").owned_by == "whet"
    with pytest.raises(openai.NotFoundError):
        sums.models.retrieve("gpt-4")


def test_the_client_raises_its_own_errors(sums):
    with pytest.raises(openai.NotFoundError) as caught:
        sums.completions.create(model="gpt-4", prompt="1")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="maximum context length is 32 tokens") as caught:
        sums.completions.create(model="sums", prompt="1" * 40)
    assert caught.value.code == "context_length_exceeded"


def test_health_is_ok(gpt_url):
    assert send(gpt_url, "GET", "/health") == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/completions", 405),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/embeddings", 404),
        ("GET", "/", 404),
    ],
)
def test_a_wrong_path_or_method_is_answered_in_json(gpt_url, method, path, status):
    found, answer = send(gpt_url, method, path, b"{}")
    assert found == status
    assert answer["error"]["type"] == "invalid_request_error"
    assert path in answer["error"]["message"]


def test_a_body_of_another_type_is_refused(gpt_url):
    # What a page of another site can send without asking: text/plain.
    status, answer = send(gpt_url, "POST", "/v1/completions", b"{}", {"Content-Type": "text/plain"})
    assert status == 400
    assert "Content-Type: application/json" in answer["error"]["message"]


def test_a_body_that_is_too_large_is_refused(gpt_url):
    assert send(gpt_url, "POST", "/v1/completions", b" " * (MAX_BODY_BYTES + 1))[0] == 413


def test_a_request_under_a_foreign_name_is_refused(gpt_url):
    connection = http.client.HTTPConnection(urlsplit(gpt_url).netloc, timeout=60)
    connection.request("GET", "/v1/models", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 400
    connection.close()


def test_a_port_that_is_taken_is_named():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: .*Choose another with --port"):
            listen("127.0.0.1", port)


# --- many at once ---


def test_200_requests_at_once_are_all_answered_and_ten_bad_ones_refused(gpt_url, gpt):
    prompts = [f"{i // 10}+{i % 10}=" for i in range(200)]
    bad = [b"", b"[", b"[]", b"{}", b'{"model": "sums"}'] * 2

    def ask(prompt):
        asked = {"model": "sums", "prompt": prompt, "temperature": 0, "max_tokens": 4}
        return send(gpt_url, "POST", "/v1/completions", json.dumps(asked).encode())

    with ThreadPoolExecutor(210) as pool:
        answers = pool.map(ask, prompts)
        refused = pool.map(lambda content: send(gpt_url, "POST", "/v1/completions", content)[0], bad)
        found = [(status, answer["choices"][0]["text"]) for status, answer in answers]
        assert list(refused) == [400] * 10
    requests = [Request(prompt_ids=tuple(gpt.policy.tokenizer.encode(p)), keys=(0,)) for p in prompts]
    params = SamplingParams(max_completion_length=4, temperature=0.0)
    expected = {c.request: c.text for c in gpt.engine.generate(requests, params)}
    assert found == [(200, expected[i]) for i in range(200)]


# --- leaving and ending ---


class Slow:
    """An engine that never finishes: it gives one token, and then waits until it is told to stop."""

    def __init__(self, tokenizer):
        self.token = tokenizer.encode("1")[0]
        self.entered, self.stopped = threading.Event(), threading.Event()

    def generate(self, requests, params, should_stop=lambda: False, on_token=None):
        list(requests)
        if on_token is not None:
            on_token(0, 0, self.token)
        self.entered.set()
        while not should_stop():
            time.sleep(0.005)
        self.stopped.set()
        raise Interrupted
        yield


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_is_not_answered_any_more(gpt, stream):
    engine = Slow(gpt.policy.tokenizer)
    with running(served_gpt(engine=engine)) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        asked = {"model": "sums", "prompt": "1", "stream": stream}
        connection.request("POST", "/v1/completions", json.dumps(asked), JSON)
        assert engine.entered.wait(20)
        response = connection.getresponse() if stream else connection
        if stream:
            assert b'"text": "1"' in response.readline()
        response.close()
        connection.close()
        assert engine.stopped.wait(20)


def test_the_end_of_the_server_is_told_to_those_who_wait(gpt):
    engine, before = Slow(gpt.policy.tokenizer), threading.active_count()
    with ThreadPoolExecutor(2) as pool:
        with running(served_gpt(engine=engine)) as url:
            asked = {"model": "sums", "prompt": "1"}
            content = json.dumps(asked).encode()
            waiting = pool.submit(send, url, "POST", "/v1/completions", content)
            assert engine.entered.wait(20)
        status, answer = waiting.result(20)
    assert status == 503
    assert answer["error"]["type"] == "server_error"
    assert threading.active_count() == before


def test_a_stream_that_cannot_be_finished_ends_with_the_problem(gpt):
    engine = Slow(gpt.policy.tokenizer)
    with ThreadPoolExecutor(1) as pool:
        with running(served_gpt(engine=engine)) as url:
            found = client(url)
            chunks = found.completions.create(model="sums", prompt="1", stream=True)
            assert next(chunks).choices[0].text == "1"
            rest = pool.submit(list, chunks)
        with pytest.raises(openai.APIError, match="shutting down"):
            rest.result(20)
        found.close()
