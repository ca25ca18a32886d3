"""When two questions are the same, and which side of the split one is on."""

from pathlib import Path

import pytest

from whet.tasks.gsm8k import Gsm8k
from whet.text.questions import normalise_question, overlap, split_position
from whet.types import Example


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How many?", "how  MANY?\n", True),
        ("１+１", "1+1", True),
        ("a\u00a0b", "a b", True),
        ("1+1", "1-1", False),
        ("-3", "3", False),
        ("a b", "ab", False),
    ],
)
def test_case_spaces_and_letter_forms_do_not_make_another_question(one: str, other: str, same: bool) -> None:
    assert (normalise_question(one) == normalise_question(other)) is same


def test_one_planted_row_is_found() -> None:
    folder = Path(__file__).parents[1] / "fixtures" / "gsm8k"
    task = Gsm8k(path=folder)
    train, test = task.examples("train"), task.examples("test")
    assert overlap(train, test) == []
    planted = Example(id="planted", prompt=test[3].prompt.upper().replace(" ", "  "))
    assert overlap([*train, planted], test) == []  # another prompt, unless its question says otherwise
    planted = Example(
        id="planted", prompt="x", columns={"question": test[3].columns["question"].upper() + "\n"}
    )
    assert overlap([*train, planted], test) == [test[3]]


def test_another_prompt_format_hides_no_overlap() -> None:
    folder = Path(__file__).parents[1] / "fixtures" / "gsm8k"
    train = Gsm8k(path=folder / "test.jsonl", format="tags").examples("train")
    test = Gsm8k(path=folder / "test.jsonl", format="boxed").examples("test")
    assert len(overlap(train, test)) == 8


def test_examples_without_a_question_are_compared_by_their_prompts() -> None:
    train = [Example(id="a", prompt="1+1=")]
    test = [Example(id="b", prompt=" 1+1= "), Example(id="c", prompt="1+2=")]
    assert overlap(train, test) == [test[0]]


def test_positions_are_spread_evenly_and_stay_the_same() -> None:
    positions = sorted(split_position(str(i)) for i in range(10_000))
    # Kolmogorov-Smirnov distance of 10,000 even draws is below 0.0195 in 99.9% of all cases.
    assert max(abs(p - (i + 0.5) / 10_000) for i, p in enumerate(positions)) < 0.0195
    # `printf 1+1 | b2sum -l 48` prints aec88c2b612f; little-endian, as a fraction of 2^48. Another value would move
    # every split.
    assert split_position("1+1") == 0x2F612B8CC8AE / 2**48
