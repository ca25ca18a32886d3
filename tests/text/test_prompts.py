"""From a prompt to ids: plain, or a conversation in the form of Qwen2.5, Qwen3 or Llama 3; and what is refused."""

import pytest

from chat_tokenizers import CHATML, GEMMA, LLAMA3, QWEN3, fast_tokenizer
from whet.config import PromptConfig
from whet.errors import ConfigError, DataError
from whet.text.pretrained import PretrainedTokenizer
from whet.text.prompts import PromptEncoder
from whet.text.tokenizers import character_tokenizer
from whet.types import Example

QUESTION = "What is 1+2?"
ASKED = ({"role": "user", "content": QUESTION},)
BOS = "<|begin_of_text|>"
CHATML_TEXT = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"


def encoder(own_template=CHATML, bos=None, stop_ids=(2,), **config):
    return PromptEncoder(
        PretrainedTokenizer(fast_tokenizer(own_template, bos), stop_ids), PromptConfig(**config)
    )


def example(prompt=QUESTION, messages=()):
    return Example(id="row 7", prompt=prompt, messages=messages)


def written(encode, prompt=QUESTION, messages=()):
    return encode.spell(encode(example(prompt, messages)))


# --- plain or chat ---


def test_auto_writes_a_conversation_where_the_tokenizer_has_a_template_and_plain_text_elsewhere():
    assert written(encoder(CHATML)) == CHATML_TEXT
    assert written(encoder(None)) == QUESTION


def test_chat_false_writes_plain_text_although_there_is_a_template():
    assert written(encoder(CHATML, chat=False)) == QUESTION


def test_chat_true_without_a_template_is_an_error_with_both_ways_out():
    with pytest.raises(ConfigError, match=r"set prompt\.chat=false, or name a template in prompt\.template"):
        encoder(None, chat=True)


def test_a_template_in_the_config_takes_the_place_of_the_tokenizers():
    assert written(encoder(LLAMA3, template=CHATML)) == CHATML_TEXT
    assert written(encoder(None, template=CHATML)) == CHATML_TEXT


def test_a_template_file_is_read_once_and_its_text_stays_in_the_config(tmp_path):
    file = tmp_path / "mine.jinja"
    file.write_text(CHATML)
    config = PromptConfig(template=str(file))
    file.unlink()
    assert config.template == CHATML
    assert PromptConfig(**config.model_dump()) == config


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("chatml", "expected Jinja, or the path of a file that ends in .jinja, found 'chatml'"),
        ("gone.jinja", "gone.jinja cannot be read: No such file or directory (looked in "),
    ],
)
def test_a_template_that_is_neither_jinja_nor_a_file_is_refused(template, message):
    with pytest.raises(ValueError, match="template") as caught:
        PromptConfig(template=template)
    assert message in str(caught.value)


def test_plain_text_follows_what_the_model_expects_once():
    encode = encoder(None, BOS)
    assert written(encode) == BOS + QUESTION
    assert encode.plain(BOS + QUESTION) == encode.plain(QUESTION)


def test_a_template_that_writes_the_first_token_itself_gets_no_second_one():
    ids = encoder(LLAMA3, BOS)(example())
    assert ids.count(3) == 1
    assert ids[0] == 3


def test_a_question_is_the_users_message_in_a_conversation_and_itself_in_plain_text():
    for encode in (encoder(CHATML), encoder(None)):
        assert encode.question(QUESTION) == encode(example())


# --- conversations ---


def test_the_messages_of_the_data_are_written_and_the_prompt_is_not():
    messages = (
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": QUESTION},
    )
    assert written(encoder(), "unused", messages) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n" + CHATML_TEXT
    )


def test_the_system_message_opens_the_conversation_once():
    assert written(encoder(system="Be brief.")) == "<|im_start|>system\nBe brief.<|im_end|>\n" + CHATML_TEXT


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_message_of_the_data_wins(role):
    messages = ({"role": role, "content": "Be long."}, *ASKED)
    assert written(encoder(system="Be brief."), messages=messages) == (
        f"<|im_start|>{role}\nBe long.<|im_end|>\n" + CHATML_TEXT
    )


def test_a_system_message_without_a_conversation_is_an_error():
    with pytest.raises(ConfigError, match=r"prompt\.system needs a conversation"):
        encoder(None, system="Be brief.")


def test_a_conversation_in_the_data_is_refused_where_prompts_are_plain():
    for encode in (encoder(None), encoder(CHATML, chat=False)):
        with pytest.raises(ConfigError, match="the prompt of row 7 is a conversation"):
            encode(example(messages=ASKED))


def test_a_policy_from_scratch_has_no_form_for_conversations():
    encode = PromptEncoder(character_tokenizer(["12"]), PromptConfig(template=CHATML))
    with pytest.raises(ConfigError, match="a from_scratch policy has no form for conversations"):
        encode.question("1")


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (
            [{"role": "human", "content": "Hi"}],
            "the role of message 1 is 'human': expected one of system, developer, user",
        ),
        ([*ASKED, {"content": "Hi"}], "the role of message 2 is None"),
        (
            [{"role": "user", "content": None}],
            "the content of message 1 (user) is None: expected a text",
        ),
        ([{"role": "user"}], "the content of message 1 (user) is None: expected a text"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
            "is [{'type': 'text', 'text': 'Hi'}]: expected a text; join the texts of its parts into one",
        ),
        (
            [*ASKED, {"role": "assistant", "content": "3"}],
            "the conversation ends with the assistant's message",
        ),
    ],
    ids=["role", "no role", "null", "no content", "parts", "answered"],
)
def test_what_is_no_conversation_is_named_with_its_example(messages, message):
    with pytest.raises(DataError) as caught:
        encoder()(example(messages=tuple(messages)))
    assert str(caught.value).startswith("the prompt of row 7: ")
    assert message in str(caught.value)


def test_an_empty_conversation_is_refused():
    with pytest.raises(DataError, match="the conversation is empty"):
        encoder().chat([])


# --- variables ---


def test_variables_reach_the_template():
    assert written(encoder(QWEN3, chat_template_kwargs={"enable_thinking": False})) == (
        CHATML_TEXT + "<think>\n\n</think>\n\n"
    )
    assert written(encoder(QWEN3)) == CHATML_TEXT


def test_a_variable_that_the_template_does_not_read_is_an_error_with_the_likely_name():
    with pytest.raises(ConfigError) as caught:
        encoder(QWEN3, chat_template_kwargs={"enable_thinkng": False})
    assert str(caught.value) == (
        "prompt.chat_template_kwargs.enable_thinkng: the chat template reads no enable_thinkng. "
        "Did you mean enable_thinking?"
    )


# --- what a template must keep ---


def test_a_template_that_drops_the_system_message_is_refused():
    users = "{% for m in messages if m.role == 'user' %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    assert written(encoder(users)) == f"<|im_start|>{QUESTION}<|im_end|>"
    with pytest.raises(ConfigError, match=r"the chat template loses the system message 'Be brief\.'"):
        encoder(users, system="Be brief.")(example())


def test_a_template_that_writes_the_first_message_only_is_refused():
    messages = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}, *ASKED)
    with pytest.raises(ConfigError, match=r"the chat template loses the assistant message 'Yes\?'"):
        encoder("<|im_start|>{{ messages[0].content }}").chat(messages)


def test_a_template_may_trim_and_may_drop_what_earlier_answers_thought():
    messages = (
        {"role": "user", "content": "  Hi\n"},
        {"role": "assistant", "content": "<think>Hm.</think>\n\nHello"},
        *ASKED,
    )
    assert "user<|end_header_id|>\n\nHi<|eot_id|>" in written(encoder(LLAMA3, BOS), messages=messages)
    assert "<|im_start|>assistant\nHello<|im_end|>" in written(encoder(QWEN3), messages=messages)


def test_a_tool_may_speak_in_a_form_of_the_templates():
    as_json = CHATML.replace("{{ m.content }}", "{{ m.content | tojson if m.role == 'tool' else m.content }}")
    messages = (*ASKED, {"role": "tool", "content": 'a "b"'})
    assert r"<|im_start|>tool" "\n" r'"a \"b\""' in written(encoder(as_json), messages=messages)


def test_a_template_that_raises_is_an_error_in_its_own_words():
    assert written(encoder(GEMMA, BOS)) == f"{BOS}{QUESTION}<|im_end|>"
    with pytest.raises(ConfigError, match="TemplateError: System role not supported"):
        encoder(GEMMA, BOS, system="Be brief.")(example())


def words_only():
    """A tokenizer that knows a few words; the others become <unk>."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "</s>": 1, "ask": 2, ":": 3, "one": 4}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PretrainedTokenizer(
        PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", unk_token="<unk>")
    )


def test_what_does_not_survive_the_tokenizer_is_refused_with_the_difference():
    encode = PromptEncoder(words_only(), PromptConfig(template="ask: {{ messages[0].content }}"))
    assert encode.question("one") == (2, 3, 4)
    with pytest.raises(DataError) as caught:
        encode(example("one two"))
    assert (
        "the prompt of row 7: what the chat template writes does not survive the tokenizer: it writes (blanks left "
        "out) 'ask:onetwo', and its tokens spell 'ask:one<unk>'."
    ) in str(caught.value)


def test_another_form_of_the_same_character_is_no_difference():
    # e and a combining acute: the tokenizer writes both as one character
    assert "caf\u00e9" in written(encoder(), "cafe\u0301")


# --- what ends an answer ---


@pytest.mark.parametrize(
    ("template", "bos", "closing"),
    [(CHATML, None, "<|im_end|>\n<|im_start|>user\n"), (LLAMA3, BOS, "<|eot_id|><|start_header_id|>user")],
    ids=["chatml", "llama3"],
)
def test_what_the_template_writes_after_an_answer_is_found(template, bos, closing):
    encode = encoder(template, bos)
    assert encode.spell(encode.closing).startswith(closing)


def test_the_templates_own_token_ends_a_demonstration_where_it_ends_completions_too():
    assert encoder(CHATML, stop_ids=[2]).end_id == 2
    assert encoder(LLAMA3, BOS, stop_ids=[6]).end_id == 6
    assert encoder(CHATML, stop_ids=[]).end_id == 0  # a base model that was never taught to end a turn
    assert encoder(CHATML, stop_ids=[2], chat=False).end_id == 0
