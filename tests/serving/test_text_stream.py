"""Text that is given once and never taken back."""

import random

import pytest

from whet.serving.text_stream import TextStream
from whet.text.tokenizers import bpe_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    """One token per byte: end-of-text, the 256 bytes, and no merge."""
    return bpe_tokenizer(["a"], 257)


def pieces(tokenizer, text, stop=()):
    stream = TextStream(tokenizer, stop)
    return [stream.piece([i]) for i in tokenizer.encode(text)]


def test_a_character_of_several_tokens_is_given_with_its_last_one(tokenizer):
    assert pieces(tokenizer, "aé€😀") == ["a", "", "é", "", "", "€", "", "", "", "😀"]


def test_what_may_become_a_stop_string_waits_until_it_cannot(tokenizer):
    assert pieces(tokenizer, "a</x</b", stop=("</b>",)) == ["a", "", "", "</x", "", "", ""]


def test_nothing_of_a_stop_string_is_given_and_nothing_after_it(tokenizer):
    assert pieces(tokenizer, "1\n\n2", stop=("\n\n",)) == ["1", "", "", ""]


def test_the_longest_of_several_beginnings_waits(tokenizer):
    # "ab" may become abc, its end "b" may become bd; "aba" can only be the beginning of abc from its last letter on.
    assert pieces(tokenizer, "xabab-", stop=("abc", "bd")) == ["x", "", "", "ab", "", "ab-"]


def test_the_end_gives_what_waited(tokenizer):
    stream = TextStream(tokenizer, ("END",))
    assert stream.piece(tokenizer.encode("the E")) == "the "
    assert stream.rest("the E") == "E"
    assert stream.rest("the E") == ""


@pytest.mark.parametrize("seed", range(20))
def test_pieces_and_rest_are_the_text_of_any_bytes(tokenizer, seed):
    draw = random.Random(seed)
    # Beginnings, middles and whole characters of 1 to 4 bytes, in any order.
    parts = ["é".encode(), "€".encode(), "😀".encode(), b"a", b"\xe2\x82", b"\xf0\x9f", b"\x80", b"\xff"]
    content = b"".join(draw.choices(parts, k=30))
    byte_ids = {_byte(tokenizer, i): i for i in range(1, 257)}
    ids = [byte_ids[b] for b in content]
    stream, given = TextStream(tokenizer, ()), ""
    while ids:
        count = draw.randint(1, 3)
        given += stream.piece(ids[:count])
        ids = ids[count:]
    text = content.decode("utf-8", errors="replace")
    assert given + stream.rest(text) == text


def _byte(tokenizer, token_id):
    """The byte that a token stands for, by GPT-2's table of printable stand-ins."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    table = {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}
    return table[tokenizer._tokenizer.id_to_token(token_id)]
