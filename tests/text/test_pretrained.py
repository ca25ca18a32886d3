"""A pretrained tokenizer behind whet's protocol: ids and texts, special tokens, files."""

from pathlib import Path

import pytest

from chat_tokenizers import CHATML, GEMMA, LLAMA3, QWEN3, fast_tokenizer
from whet.errors import ConfigError, DataError
from whet.text.pretrained import PretrainedTokenizer

ASKED = [{"role": "user", "content": "What is 1+2?"}]


def test_a_text_is_encoded_with_nothing_added():
    tokenizer = PretrainedTokenizer(fast_tokenizer(bos="<|begin_of_text|>"))
    assert tokenizer.decode(tokenizer.encode(" What is 1+2?\n")) == " What is 1+2?\n"
    assert tokenizer.encode("") == []


def test_special_tokens_that_a_text_spells_are_tokens():
    tokenizer = PretrainedTokenizer(fast_tokenizer())
    assert tokenizer.encode("<|im_start|><|im_end|>") == [1, 2]


def test_special_tokens_are_left_out_of_the_text_and_visible_when_spelled():
    tokenizer = PretrainedTokenizer(fast_tokenizer())
    ids = [1, *tokenizer.encode("3 , 4"), 2]
    assert tokenizer.decode(ids) == "3 , 4"
    assert tokenizer.spell(ids) == "<|im_start|>3 , 4<|im_end|>"


def test_spaces_before_punctuation_stay_although_the_tokenizer_asks_for_a_clean_up():
    # A word-level model: for a BPE transformers refuses to clean up, whatever it is asked.
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"</s>": 0, "yes": 1, "!": 2, "?": 3}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="</s>", clean_up_tokenization_spaces=True
    )
    assert theirs.decode([1, 2]) == "yes!"
    assert PretrainedTokenizer(theirs).decode([1, 2]) == "yes !"


def test_thinking_tags_that_are_no_special_tokens_stay_in_the_text():
    tokenizer = PretrainedTokenizer(fast_tokenizer(QWEN3))
    ids = tokenizer.encode("<think>1</think>")
    assert len(ids) == 3
    assert tokenizer.decode(ids) == "<think>1</think>"


def test_the_end_of_text_and_what_the_generation_config_names_end_a_completion():
    assert PretrainedTokenizer(fast_tokenizer(), [2]).stop_ids == {0, 2}
    assert PretrainedTokenizer(fast_tokenizer()).stop_ids == {0}
    assert PretrainedTokenizer(fast_tokenizer(eos_token="<|im_end|>"), [0]).eos_id == 2


def test_a_tokenizer_that_ends_no_text_is_refused_with_the_setting():
    with pytest.raises(ConfigError, match=r"set eos_token in its tokenizer_config\.json"):
        PretrainedTokenizer(fast_tokenizer(eos_token=None), [2])


def test_what_the_tokenizer_puts_before_a_text_is_found_and_its_end_is_not():
    from tokenizers import processors

    assert PretrainedTokenizer(fast_tokenizer()).bos_ids == ()
    assert PretrainedTokenizer(fast_tokenizer(bos="<|begin_of_text|>")).bos_ids == (3,)
    both = fast_tokenizer()
    both.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A <|endoftext|>",
        special_tokens=[("<|begin_of_text|>", 3), ("<|endoftext|>", 0)],
    )
    assert PretrainedTokenizer(both).bos_ids == (3,)


def test_the_vocabulary_counts_added_tokens():
    # 300 of the BPE, of them 7 special, and the two thinking tags
    assert PretrainedTokenizer(fast_tokenizer()).vocab_size == len(fast_tokenizer()) == 302


def test_of_several_templates_the_default_one_is_taken():
    assert PretrainedTokenizer(fast_tokenizer(CHATML)).chat_template == CHATML
    assert PretrainedTokenizer(fast_tokenizer({"default": CHATML, "tool_use": GEMMA})).chat_template == CHATML
    assert PretrainedTokenizer(fast_tokenizer({"tool_use": GEMMA})).chat_template is None
    assert PretrainedTokenizer(fast_tokenizer(None)).chat_template is None


def test_a_conversation_is_rendered_up_to_where_the_assistant_answers():
    tokenizer = PretrainedTokenizer(fast_tokenizer(bos="<|begin_of_text|>"))
    assert tokenizer.render(ASKED, CHATML, {}) == (
        "<|im_start|>user\nWhat is 1+2?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.render(ASKED, LLAMA3, {}) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhat is 1+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_variables_reach_the_template():
    tokenizer = PretrainedTokenizer(fast_tokenizer(QWEN3))
    assert tokenizer.render(ASKED, QWEN3, {"enable_thinking": False}).endswith("<think>\n\n</think>\n\n")
    assert tokenizer.render(ASKED, QWEN3, {"enable_thinking": True}).endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("template", "variables", "words"),
    [
        (GEMMA, {}, "TemplateError: System role not supported"),
        ("{% for m in messages %}{{ m.content }}", {}, "TemplateSyntaxError: Unexpected end of template"),
        ("{{ messages[0].parts.text }}", {}, "UndefinedError: 'dict object' has no attribute 'parts'"),
        ("{{ 1 / 0 }}", {}, "ZeroDivisionError: division by zero"),
        ("{{ messages[0].content + 1 }}", {}, "TypeError: can only concatenate str"),
        (CHATML, {"tokenize": True}, "TypeError: "),
    ],
    ids=["raises", "syntax", "attribute", "arithmetic", "type", "variable"],
)
def test_a_template_that_fails_is_an_error_with_its_own_words_and_the_way_out(template, variables, words):
    tokenizer = PretrainedTokenizer(fast_tokenizer())
    with pytest.raises(ConfigError) as caught:
        tokenizer.render([{"role": "system", "content": "Be brief."}, *ASKED], template, variables)
    message = str(caught.value)
    assert message.startswith(f"the chat template fails on a conversation of system, user: {words}")
    assert "prompt.template" in message


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_is_saved_loads_in_transformers_and_is_saved_in_equal_bytes(tmp_path):
    from transformers import AutoTokenizer

    first, second = tmp_path / "first", tmp_path / "second"
    made = PretrainedTokenizer(fast_tokenizer(LLAMA3, bos="<|begin_of_text|>"), [6])
    made.save(first)
    loaded = PretrainedTokenizer(AutoTokenizer.from_pretrained(first), [6])
    loaded.encode("a text in between changes nothing")
    loaded.save(second)
    assert files_of(first) == files_of(second)
    assert files_of(first).keys() == {"chat_template.jinja", "tokenizer.json", "tokenizer_config.json"}
    assert (loaded.chat_template, loaded.bos_ids, loaded.stop_ids) == (LLAMA3, (3,), {0, 6})
    assert loaded.encode("What is 1+2?") == made.encode("What is 1+2?")


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(DataError, match="half of a surrogate pair"):
        PretrainedTokenizer(fast_tokenizer()).encode("ok \ud83d")
