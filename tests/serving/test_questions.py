"""From the body of a request to what the engine is asked for, and how the rest is refused."""

import json

import pytest

from served import served_gpt
from whet.config import SamplingConfig
from whet.serving.problems import ApiProblem
from whet.serving.questions import read_chat, read_completion
from whet.types import SamplingParams

GOOD = {"model": "sums", "prompt": "1+2="}
GOOD_CHAT = {"model": "assistant", "messages": [{"role": "user", "content": "1+2?"}]}


def body(values):
    return json.dumps(values).encode()


def ask(gpt, **changes):
    return read_completion(body({**GOOD, **changes}), gpt)


def ask_chat(chat, **changes):
    return read_chat(body({**GOOD_CHAT, **changes}), chat)


def problem(read, content, served):
    with pytest.raises(ApiProblem) as caught:
        read(content if isinstance(content, bytes) else body(content), served)
    error = caught.value.body["error"]
    assert error["type"] == "invalid_request_error"
    return caught.value.status, error["param"], error["code"]


# --- what is asked ---


def test_what_a_request_leaves_out_is_as_in_the_training():
    own = SamplingConfig(max_completion_length=5, temperature=0.7, stop=("=",))
    expected = SamplingParams(max_completion_length=5, temperature=0.7, stop=("=",))
    assert ask(served_gpt(sampling=own)).params == expected


def test_every_sampling_field_reaches_the_engine(gpt):
    asked = ask(gpt, max_tokens=3, temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, stop=["1", "2"])
    assert asked.params == SamplingParams(
        max_completion_length=3, temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, stop=("1", "2")
    )


def test_null_is_as_if_it_were_not_there(gpt):
    fields = ("max_tokens", "temperature", "stop", "n", "seed", "stream", "logprobs", "logit_bias", "user")
    asked = ask(gpt, **dict.fromkeys(fields))
    assert asked.params == ask(gpt).params
    assert asked.num_choices == 1 and not asked.stream and not asked.logprobs


def test_the_same_seed_gives_the_same_keys_and_no_seed_gives_new_ones(gpt):
    assert ask(gpt, seed=3, n=2).requests == ask(gpt, seed=3, n=2).requests
    assert ask(gpt, seed=3).requests != ask(gpt, seed=4).requests
    assert ask(gpt).requests != ask(gpt).requests


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        ("1+2", [[5, 2, 6]]),
        (["1", "2+1"], [[5], [6, 2, 5]]),
        ([5, 2, 6], [[5, 2, 6]]),
        ([[5], [6, 2]], [[5], [6, 2]]),
    ],
)
def test_a_prompt_is_a_text_texts_ids_or_lists_of_ids(gpt, prompt, ids):
    # Characters in their order "*+-0123456789=" have the ids 1 to 14: "+" is 2, "1" is 5, "2" is 6.
    assert [list(r.prompt_ids) for r in ask(gpt, prompt=prompt).requests] == ids


def test_completions_default_to_what_the_context_leaves(gpt):
    # 32 tokens of context less 28 of the prompt leave 4 of the usual 8.
    assert ask(gpt, prompt="1" * 28).params.max_completion_length == 4


def test_a_request_may_fill_the_context_to_its_last_token(gpt):
    assert ask(gpt, prompt="1" * 28, max_tokens=4).params.max_completion_length == 4


def test_a_conversation_is_written_by_the_template_and_developer_is_system(chat):
    asked = ask_chat(
        chat,
        messages=[
            {"role": "developer", "content": "Add."},
            {"role": "user", "content": [{"type": "text", "text": "1+"}, {"type": "text", "text": "2?"}]},
        ],
    )
    assert chat.policy.tokenizer.spell(asked.requests[0].prompt_ids) == (
        "<|im_start|>system\nAdd.<|im_end|>\n<|im_start|>user\n1+2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_both_names_of_the_completion_length_work_in_a_chat(chat):
    assert ask_chat(chat, max_tokens=7).params.max_completion_length == 7
    assert ask_chat(chat, max_completion_tokens=7).params.max_completion_length == 7


def test_fields_that_change_no_text_and_neutral_values_are_taken(chat):
    asked = ask_chat(
        chat,
        user="me",
        store=False,
        presence_penalty=0,
        response_format={"type": "text"},
        tools=[],
        top_logprobs=0,
    )
    assert asked.requests[0].prompt_ids == ask_chat(chat).requests[0].prompt_ids


# --- what is refused ---

BAD = {
    "not JSON": (b'{"model": "sums", "prompt":', 400, None, "invalid_json"),
    "not UTF-8": (b'{"model": "\xff"}', 400, None, "invalid_json"),
    "NaN": (b'{"model": "sums", "prompt": "1", "temperature": NaN}', 400, None, "invalid_json"),
    "a list": ([], 400, None, "invalid_json"),
    "nested too deep": (b"[" * 100_000, 400, None, "invalid_json"),
    "no prompt": ({"model": "sums"}, 400, "prompt", "missing_required_parameter"),
    "no model": ({"prompt": "1"}, 400, "model", "missing_required_parameter"),
    "another model": ({**GOOD, "model": "gpt-4"}, 404, "model", "model_not_found"),
    "an unknown field": ({**GOOD, "temprature": 1}, 400, "temprature", "unknown_parameter"),
    "a text for a number": ({**GOOD, "temperature": "1"}, 400, "temperature", "invalid_value"),
    "a bool for a number": ({**GOOD, "max_tokens": True}, 400, "max_tokens", "invalid_value"),
    "a temperature below 0": ({**GOOD, "temperature": -0.1}, 400, "temperature", "invalid_value"),
    "a temperature above 2": ({**GOOD, "temperature": 2.1}, 400, "temperature", "invalid_value"),
    "top_p 0": ({**GOOD, "top_p": 0}, 400, "top_p", "invalid_value"),
    "no tokens": ({**GOOD, "max_tokens": 0}, 400, "max_tokens", "invalid_value"),
    "n 0": ({**GOOD, "n": 0}, 400, "n", "invalid_value"),
    "n 129": ({**GOOD, "n": 129}, 400, "n", "invalid_value"),
    "too many completions": ({**GOOD, "prompt": ["1"] * 9, "n": 128}, 400, "n", None),
    "five stop strings": ({**GOOD, "stop": list("12345")}, 400, "stop", "invalid_value"),
    "an empty stop string": ({**GOOD, "stop": ""}, 400, "stop", "invalid_value"),
    "a number as prompt": ({**GOOD, "prompt": 7}, 400, "prompt", "invalid_value"),
    "an empty prompt": ({**GOOD, "prompt": ""}, 400, "prompt", "invalid_value"),
    "no prompts": ({**GOOD, "prompt": []}, 400, "prompt", "invalid_value"),
    "a character without a token": ({**GOOD, "prompt": "x"}, 400, "prompt", "invalid_value"),
    "half a surrogate pair": (b'{"model": "sums", "prompt": "\\ud800"}', 400, "prompt", "invalid_value"),
    "an id that is none": ({**GOOD, "prompt": [15]}, 400, "prompt", "invalid_value"),
    "a negative id": ({**GOOD, "prompt": [-1]}, 400, "prompt", "invalid_value"),
    "a prompt of the whole context": ({**GOOD, "prompt": "1" * 32}, 400, "prompt", "context_length_exceeded"),
    "more tokens than fit": ({**GOOD, "max_tokens": 29}, 400, "prompt", "context_length_exceeded"),
    "alternatives": ({**GOOD, "logprobs": 1}, 400, "logprobs", "unsupported_value"),
    "streamed logprobs": ({**GOOD, "logprobs": 0, "stream": True}, 400, "logprobs", "unsupported_value"),
    "echo": ({**GOOD, "echo": True}, 400, "echo", "unsupported_parameter"),
    "options of no stream": ({**GOOD, "stream_options": {}}, 400, "stream_options", None),
    "a seed of 64 bits": ({**GOOD, "seed": 1 << 63}, 400, "seed", "invalid_value"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_completion_request_is_refused(gpt, case):
    content, *expected = BAD[case]
    assert problem(read_completion, content, gpt) == tuple(expected)


BAD_CHATS = {
    "no messages": ({"messages": []}, "messages", "invalid_value"),
    "a message without content": ({"messages": [{"role": "user"}]}, "messages", "invalid_value"),
    "an unknown role": ({"messages": [{"role": "judge", "content": "x"}]}, "messages", "invalid_value"),
    "a picture": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "messages",
        "invalid_value",
    ),
    "two lengths": ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens", None),
    "top_logprobs": ({"logprobs": True, "top_logprobs": 3}, "top_logprobs", "unsupported_parameter"),
    "tools": ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
    "a form of the answer": ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
    "a prompt": ({"prompt": "1"}, "prompt", "unknown_parameter"),
    "too long": ({"messages": [{"role": "user", "content": "x " * 300}]}, "messages", "context_length_exceeded"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CHATS)
def test_a_bad_chat_request_is_refused(chat, case):
    changes, param, code = BAD_CHATS[case]
    assert problem(read_chat, {**GOOD_CHAT, **changes}, chat) == (400, param, code)


def test_a_chat_with_a_model_of_plain_text_says_where_to_ask(gpt):
    with pytest.raises(ApiProblem, match="ask /v1/completions"):
        read_chat(body({**GOOD_CHAT, "model": "sums"}), gpt)


def test_the_message_of_a_long_prompt_counts_as_openai_does(gpt):
    with pytest.raises(ApiProblem) as caught:
        ask(gpt, max_tokens=29)
    assert str(caught.value).startswith(
        "This model's maximum context length is 32 tokens. However, you requested 33 tokens (4 in the prompt, 29 in "
    )
