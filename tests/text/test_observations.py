"""What stands between two answers of a conversation: as the template writes it, or the template is refused."""

import pytest

from chat_tokenizers import CHATML, GEMMA, LLAMA3, QWEN3, fast_tokenizer
from whet.config import PromptConfig
from whet.errors import ConfigError, DataError
from whet.text.pretrained import PretrainedTokenizer
from whet.text.prompts import PromptEncoder
from whet.text.tokenizers import character_tokenizer

BOS = "<|begin_of_text|>"
THOUGHTFUL = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index %}"
    "{% endif %}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content if m.role != 'assistant' or loop.index > ns.last else m.content.split('</think>')[-1] | trim }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Drops thoughts before the last user message and keeps those between tool calls."""
DEAF = (
    "{% for m in messages %}{% if m.role in ('user', 'assistant') %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "<|im_end|>\n{% endif %}{% endfor %}<|im_start|>assistant\n"
)
"""Writes nothing of tools."""
COUNTING = (
    "{% for m in messages %}<|im_start|>{{ m.role }} {{ loop.revindex }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
"""Numbers messages from the end."""
FORMS = {"chatml": (CHATML, None, 2), "llama3": (LLAMA3, BOS, 6), "gemma": (GEMMA, BOS, 2)}
"""Templates that only add, with what their tokenizer puts first and the token that ends an answer."""


def encoder(own_template, bos=None, stop_ids=(2,), **config):
    return PromptEncoder(
        PretrainedTokenizer(fast_tokenizer(own_template, bos), stop_ids), PromptConfig(**config)
    )


def spelled(encode, role, text, answer="It is 4.", end=(2,)):
    ids = (*encode.plain(answer), *end)
    return encode.spell(encode.observation(role, text, ids))


def test_a_users_message_stands_between_the_end_of_an_answer_and_the_next():
    assert spelled(encoder(CHATML), "user", "higher") == (
        "\n<|im_start|>user\nhigher<|im_end|>\n<|im_start|>assistant\n"
    )


def test_an_answer_that_did_not_end_itself_is_ended_once():
    assert spelled(encoder(CHATML), "user", "higher", end=()) == (
        "<|im_end|>\n<|im_start|>user\nhigher<|im_end|>\n<|im_start|>assistant\n"
    )


def test_an_answer_that_ended_with_another_token_gets_the_templates_end_too():
    assert spelled(encoder(CHATML), "user", "higher", end=(0,)).startswith("<|im_end|>\n<|im_start|>user")


def test_a_tools_message_has_its_own_role():
    assert "<|im_start|>tool\n42<|im_end|>" in spelled(encoder(CHATML), "tool", "42")


@pytest.mark.parametrize("role", ["user", "tool"])
@pytest.mark.parametrize("name", FORMS)
def test_tokens_that_grow_turn_by_turn_are_those_of_the_whole_conversation(name, role):
    template, bos, end = FORMS[name]
    encode = encoder(template, bos, (end,))
    said = [("Is it 3?", "higher"), ("Is it 5, then?", "lower  than\nthat"), ("4", "")]
    messages = [{"role": "user", "content": "Guess!"}]
    ids = encode.chat(messages)
    for answer, observation in said:
        own = (*PretrainedTokenizer(fast_tokenizer(template)).encode(answer), end)
        ids += (*own, *encode.observation(role, observation, own))
        messages += [{"role": "assistant", "content": answer}, {"role": role, "content": observation}]
        assert encode.chat(messages) == ids


def test_the_system_message_of_the_config_changes_nothing_between_turns():
    with_system, without = encoder(CHATML, system="Be brief."), encoder(CHATML)
    assert spelled(with_system, "user", "higher") == spelled(without, "user", "higher")


def test_plain_text_is_observed_as_it_is():
    encode = PromptEncoder(character_tokenizer(["higher lower 0123"]), PromptConfig())
    assert encode.spell(encode.observation("user", "higher 1", (3, 0))) == "higher 1"
    assert encode.observation("tool", "", (3, 0)) == ()


def test_a_template_that_drops_earlier_thoughts_is_refused_with_the_difference():
    with pytest.raises(
        ConfigError, match=r"say .*<think>\\nIs it.*, it writes 'ssistant\\nSo it is"
    ) as caught:
        encoder(QWEN3).check_turns("user")
    assert "Name a template in prompt.template that only ever adds to what it wrote" in str(caught.value)


def test_a_template_that_opens_only_the_newest_answer_with_a_closed_thought_is_refused():
    with pytest.raises(ConfigError, match=r"say .*<think>\\n\\n</think>\\n\\nSo it is.*it writes"):
        encoder(QWEN3, chat_template_kwargs={"enable_thinking": False}).observation("user", "higher", (2,))


def test_a_template_may_keep_thoughts_between_tool_calls_and_not_between_questions():
    encode = encoder(THOUGHTFUL)
    encode.check_turns("tool")
    with pytest.raises(ConfigError, match="a conversation with a user message so far"):
        encode.check_turns("user")


def test_a_template_that_numbers_messages_from_the_end_is_refused():
    with pytest.raises(ConfigError, match="writes earlier turns otherwise than they were sampled"):
        encoder(COUNTING).check_turns("user")


def test_a_template_that_loses_what_tools_say_is_refused():
    with pytest.raises(ConfigError, match="the chat template loses what a tool message says"):
        encoder(DEAF).check_turns("tool")


def test_a_template_of_ones_own_takes_the_place_of_one_that_is_refused():
    encoder(QWEN3, template=CHATML).check_turns("user")


def test_an_observation_that_does_not_survive_the_tokenizer_is_named():
    with pytest.raises(DataError, match="half of a surrogate pair"):
        spelled(encoder(CHATML), "user", "\ud800")
