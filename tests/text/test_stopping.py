"""What ends a completion, and the text that is left of it."""

import pytest

from whet.text.stopping import Ending
from whet.text.tokenizers import bpe_tokenizer, character_tokenizer

CHARACTERS = character_tokenizer(["abcd|"])


def ids(text):
    return CHARACTERS.encode(text)


def ends_at(text, stop, tokenizer=CHARACTERS):
    """How many tokens of the text it takes; None when it never ends."""
    ending, tokens = Ending(tokenizer, stop), tokenizer.encode(text)
    return next((n for n in range(1, len(tokens) + 1) if ending.reached(tokens[:n])), None)


def test_end_of_text_ends_it_with_and_without_stop_strings():
    for stop in ((), ("c",)):
        assert Ending(CHARACTERS, stop).reached([*ids("ab"), 0])
        assert not Ending(CHARACTERS, stop).reached([0, *ids("ab")])


@pytest.mark.parametrize(
    ("stop", "tokens"), [(("c",), 3), (("bc", "d"), 3), (("cb", "d"), 4), (("x",), None), ((), None)]
)
def test_it_ends_at_the_token_that_completes_the_first_stop_string(stop, tokens):
    assert ends_at("abcd|", stop) == tokens


def test_a_long_stop_string_is_seen_as_a_whole():
    stop = "abcd" * 10
    assert ends_at("||" + stop + "ab", (stop,)) == 42


def test_a_stop_string_inside_a_larger_token_counts():
    tokenizer = bpe_tokenizer(["question question question"], 300)
    tokens = tokenizer.encode("a question")
    assert len(tokens) < 5  # the word is one or two tokens
    assert ends_at("a question", ("est",), tokenizer) == len(tokens)


def test_a_stop_string_of_many_bytes_per_character_is_found():
    tokenizer = bpe_tokenizer(["abc"], 300)
    assert ends_at("x" + "終わり" * 4 + "cd", ("終わり" * 4,), tokenizer) == 1 + 36  # 3 bytes each, no merges


def test_the_text_is_cut_before_the_earliest_stop_string_and_the_tokens_are_not():
    tokens = ids("abcd|")
    assert Ending(CHARACTERS, ("d", "bc")).text(tokens) == "a"
    assert len(tokens) == 5


def test_the_text_leaves_end_of_text_out():
    assert Ending(CHARACTERS, ()).text([*ids("ab"), 0]) == "ab"
