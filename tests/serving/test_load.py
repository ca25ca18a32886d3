"""A run, a checkpoint or a plain directory as a model to serve, its adapter in place or folded in."""

import json

import openai
import pytest

from checkpoints import tiny_checkpoint
from trained_adapter import SYSTEM, adapter_run
from whet.errors import ConfigError, RunError
from whet.release.export import export
from whet.serving.load import load_served
from whet.serving.questions import read_chat, read_completion
from whet.serving.server import running

ASKED = [{"role": "user", "content": "1+2="}]


def served(spec, **settings):
    return load_served(str(spec), "nowhere", device="cpu", **settings)


def greedy(model):
    """What it says over HTTP, in a stream."""
    with running(model) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        chunks = client.chat.completions.create(model=model.name, messages=ASKED, temperature=0, stream=True)
        return "".join(c.choices[0].delta.content or "" for c in chunks)


def test_an_adapter_says_the_same_in_place_folded_in_and_exported(tmp_path):
    path = adapter_run().path
    in_place, folded = served(path), served(path, merge=True)
    exported = served(export(adapter_run(), out=tmp_path / "out"))
    texts = [greedy(m) for m in (in_place, folded)]
    assert texts[0] == texts[1] != ""
    # The exported model has left the run's settings behind: its system message and its 8 tokens are given here.
    asked = {"model": "out", "max_tokens": 8, "temperature": 0,
             "messages": [{"role": "system", "content": SYSTEM}, *ASKED]}  # fmt: skip
    question = read_chat(json.dumps(asked).encode(), exported)
    (completion,) = exported.engine.generate(question.requests, question.params)
    assert completion.text == texts[0]
    assert len({m.fingerprint for m in (in_place, folded, served(tiny_checkpoint("qwen2")))}) == 3


def test_the_system_message_of_the_training_opens_the_conversation():
    model = served(adapter_run().path)
    asked = {"model": model.name, "messages": ASKED}
    (request,) = read_chat(json.dumps(asked).encode(), model).requests
    assert model.encoder.spell(request.prompt_ids).startswith(f"<|im_start|>system\n{SYSTEM}<|im_end|>")


def test_plain_completions_write_no_template():
    model = served(adapter_run().path)
    (request,) = read_completion(json.dumps({"model": model.name, "prompt": "1+2="}).encode(), model).requests
    assert model.encoder.spell(request.prompt_ids) == "1+2="


def test_a_run_lends_its_name_and_its_settings(tiny_run):
    model = served(f"{tiny_run}:1")
    assert model.name == f"{tiny_run.name}:1"
    assert model.sampling.max_completion_length == 4
    assert model.fingerprint != served(tiny_run).fingerprint
    assert served(tiny_run, name="sums").name == "sums"


def test_an_adapter_that_is_not_there_cannot_be_folded_in(tiny_run):
    with pytest.raises(ConfigError, match="this policy has none: leave it out"):
        served(tiny_run, merge=True)


def test_what_is_neither_run_nor_model_is_named():
    with pytest.raises(RunError, match="there is no run 'nothing'"):
        served("nothing")
