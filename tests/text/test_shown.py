"""One prompt laid open: what is shown is what is sent."""

from chat_tokenizers import CHATML, LLAMA3, fast_tokenizer
from whet.config import PromptConfig
from whet.text.pretrained import PretrainedTokenizer
from whet.text.prompts import PromptEncoder
from whet.text.shown import shown_prompt
from whet.text.tokenizers import character_tokenizer
from whet.types import Example


def shown(tokenizer, prompt, **config):
    encode = PromptEncoder(tokenizer, PromptConfig(**config))
    return shown_prompt(tokenizer, encode, Example(id="0", prompt=prompt))


def test_a_plain_prompt_is_its_characters_and_ends_as_the_policy_ends():
    # the vocabulary in order: end-of-text, then + 1 =
    assert shown(character_tokenizer(["1+="]), "1+1=") == {
        "chat": False,
        "text": "1+1=",
        "length": 4,
        "tokens": [
            {"id": 2, "text": "1"},
            {"id": 1, "text": "+"},
            {"id": 2, "text": "1"},
            {"id": 3, "text": "="},
        ],
        "ends_completion": [{"id": 0, "text": "<|endoftext|>"}],
        "ends_demonstration": {"id": 0, "text": "<|endoftext|>"},
        "warnings": [],
    }


def test_special_tokens_are_visible_one_by_one():
    tokenizer = PretrainedTokenizer(fast_tokenizer(LLAMA3, "<|begin_of_text|>"), [6])
    found = shown(tokenizer, "x")
    assert found["text"] == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nx<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert [t["text"] for t in found["tokens"] if t["text"].startswith("<")] == [
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
    ]
    assert "".join(t["text"] for t in found["tokens"]) == found["text"]
    assert found["length"] == len(found["tokens"])
    assert [t["id"] for t in found["ends_completion"]] == [0, 6]
    assert found["ends_demonstration"] == {"id": 6, "text": "<|eot_id|>"}


def test_a_template_whose_answers_end_with_a_token_that_ends_no_completion_is_warned_of():
    tokenizer = PretrainedTokenizer(fast_tokenizer(CHATML))
    (warning,) = shown(tokenizer, "x")["warnings"]
    assert warning.startswith(
        "the chat template ends an answer with '<|im_end|>', and no completion ends there."
    )
    assert "prompt.chat=false; otherwise add 2 to eos_token_id" in warning
    assert shown(tokenizer, "x", chat=False)["warnings"] == []
    assert shown(PretrainedTokenizer(fast_tokenizer(CHATML), [2]), "x")["warnings"] == []
