"""Text -> tokens -> text, for characters and for a BPE trained on grade-school problems."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.errors import DataError
from whet.text.tokenizers import EOS, bpe_tokenizer, character_tokenizer, load_tokenizer

FIXTURE = Path(__file__).parents[1] / "fixtures" / "gsm8k" / "train.jsonl"
TEXTS = [f"{row['question']}\n{row['answer']}" for row in map(json.loads, FIXTURE.read_text().splitlines())]
BPE = bpe_tokenizer(TEXTS, 600)
CHARACTERS = character_tokenizer(TEXTS, alphabet="€\t")
BOTH = pytest.mark.parametrize("tokenizer", [CHARACTERS, BPE], ids=["char", "bpe"])


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=300, deadline=None)
def test_a_bpe_round_trips_any_unicode(text):
    assert BPE.decode(BPE.encode(text)) == text


@BOTH
def test_the_training_texts_round_trip(tokenizer):
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_characters_are_tokens_so_any_ids_round_trip():
    draw = random.Random(0)
    for _ in range(5_000):
        ids = [draw.randrange(1, CHARACTERS.vocab_size) for _ in range(draw.randrange(12))]
        assert CHARACTERS.encode(CHARACTERS.decode(ids)) == ids
        assert len(CHARACTERS.decode(ids)) == len(ids)


def test_whatever_a_bpe_decodes_it_encodes_and_decodes_again():
    draw = random.Random(0)
    changed = 0
    for _ in range(5_000):
        ids = [draw.randrange(1, BPE.vocab_size) for _ in range(draw.randrange(12))]
        text = BPE.decode(ids)
        again = BPE.encode(text)
        assert BPE.decode(again) == text
        changed += again != ids
    assert changed > 100  # the ids themselves are not kept: a reason never to encode what was decoded


@pytest.mark.parametrize("tokenizer", [character_tokenizer([EOS + "1+ "]), BPE], ids=["char", "bpe"])
@pytest.mark.parametrize("text", [EOS, f"1 + 1{EOS}", EOS * 3])
def test_a_text_that_spells_the_end_of_text_token_is_only_a_text(tokenizer, text):
    assert tokenizer.eos_id == 0
    assert 0 not in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@BOTH
def test_decoding_leaves_the_end_of_text_token_out(tokenizer):
    ids = tokenizer.encode("12")
    assert tokenizer.decode([*ids, 0]) == "12"


def test_digits_are_single_tokens():
    for text in ("2024", "$1,000.50", "x17y", " 365"):
        pieces = [BPE.decode([i]) for i in BPE.encode(text)]
        assert [p for p in pieces if any(c.isdigit() for c in p)] == [c for c in text if c.isdigit()]


def test_a_bpe_merges_common_words():
    assert len(BPE.encode(TEXTS[0])) < 0.5 * len(TEXTS[0])


def test_the_vocabulary_has_the_size_that_was_asked_for():
    assert BPE.vocab_size == 600
    assert CHARACTERS.vocab_size == 1 + len({c for text in TEXTS for c in text} | {"€", "\t"})


@BOTH
def test_saving_and_loading_gives_equal_bytes_and_equal_ids(tokenizer, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    tokenizer.save(tmp_path / "first")
    loaded = load_tokenizer(tmp_path / "first")
    loaded.save(tmp_path / "second")
    first, second = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("first", "second"))
    assert first == second
    assert loaded.vocab_size == tokenizer.vocab_size
    for text in TEXTS:
        assert loaded.encode(text) == tokenizer.encode(text)


def test_the_same_texts_train_the_same_bytes(tmp_path):
    files = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        bpe_tokenizer(TEXTS, 400).save(tmp_path / name)
        files.append((tmp_path / name / "tokenizer.json").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("load", [False, True], ids=["made", "loaded"])
def test_a_character_without_a_token_is_named_with_the_ways_out(load, tmp_path):
    tokenizer = character_tokenizer(["0123456789+="])
    if load:
        tokenizer.save(tmp_path)
        tokenizer = load_tokenizer(tmp_path)
    with pytest.raises(DataError) as caught:
        tokenizer.encode("1*2 = 2")
    assert str(caught.value) == (
        "no token for ' *' in '1*2 = 2': the tokenizer knows only the characters of the training data; "
        "use policy.tokenizer=bpe, or name them in policy.alphabet"
    )


@pytest.mark.parametrize(
    "use", [BPE.encode, lambda t: bpe_tokenizer([t], 300), lambda t: character_tokenizer([t])]
)
def test_half_a_surrogate_pair_is_refused_and_placed(use):
    with pytest.raises(DataError, match=r"'\\ud83d' at character 3 of 'ok \\ud83d'"):
        use("ok \ud83d")


def test_transformers_reads_the_saved_file(tmp_path):
    from transformers import PreTrainedTokenizerFast

    BPE.save(tmp_path)
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), eos_token=EOS)
    assert theirs(TEXTS[0])["input_ids"] == BPE.encode(TEXTS[0])
    assert theirs.eos_token_id == BPE.eos_id
