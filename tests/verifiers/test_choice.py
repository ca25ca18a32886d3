"""Which texts choose an option, which choose several, and which choose none though letters are in them."""

import time

import pytest

from whet.errors import DataError
from whet.types import Example
from whet.verifiers.choice import Choice

CITIES = Example(
    id="cities/1", prompt="Capital of France?", columns={"choices": ["Rome", "Paris", "A dog", "Bonn"]}
)


def verdict(text: str, answer: str = "B", example: Example | None = None) -> tuple[float, str]:
    score = Choice().score(text, answer, example)
    assert score.status == "ok"
    return score.value, score.detail


@pytest.mark.parametrize(
    "text",
    [
        "B",
        " B \n",
        "b",
        "(B)",
        "(b)",
        "B.",
        "B)",
        "B:",
        "**B**",
        "**(B)**",
        "**B.**",
        "$\\text{B}$",
        "`B`",
        "Option B",
        "The answer is B",
        "The answer is B.",
        "The correct answer is: (B)",
        "The answer is **B**.",
        "the answer is option B",
        "The answer is B because A is cold.",
        "The answer is B, not A.",
        "The answer is B. A is wrong.",
        "The answer is (B).\nI hope this helps!",
        "**Answer:** B",
        "**Answer: B**",
        "Answer:\n\n**B) Paris**",
        "B. Paris",
        "B) Paris",
        "(B) Paris",
        "A is cold. C is old.\nSo I choose (B).",
        "If the answer is A, nobody speaks French.\nB",
        "The answer is A. No: the answer is B.",
        "<think>A or C</think><answer>B</answer>",
        "<answer>(B) Paris</answer>",
        "<answer>B, as A is cold</answer>",
        "<answer>Paris (B)</answer>",
        "<answer>A</answer> no, <answer>B</answer>",
        "A\n#### B",
        "So \\boxed{B}",
        "So \\boxed{\\text{B}}",
        "So \\boxed{(B)}",
        "So the answer must be B.",
        "I choose B",
        "B is correct",
        "Thus, B.",
        "Answer B",
        "<answer>B) A mirror</answer>",
        "B. A mirror",
    ],
)
@pytest.mark.parametrize("example", [None, CITIES], ids=["letters", "options"])
def test_a_text_that_ends_up_with_the_right_letter_is_right(text: str, example: Example | None) -> None:
    assert verdict(text, "B", example) == (1.0, "")


@pytest.mark.parametrize(
    "text",
    [
        "Paris",
        "paris.",
        "**Paris**",
        "The answer is Paris.",
        "The answer is Paris. Rome is in Italy.",
        "<answer>Paris</answer>",
        "#### Paris",
        "\\boxed{\\text{Paris}}",
    ],
)
def test_the_text_of_the_right_option_is_right(text: str) -> None:
    assert verdict(text, "B", CITIES) == (1.0, "")


@pytest.mark.parametrize(
    "text",
    [
        "A and B",
        "A, B",
        "(A) (B)",
        "A/B",
        "A B C D",
        "(A) or (B)",
        "The answer is A or B.",
        "The answer is (A), (B).",
        "<answer>A, B</answer>",
        "<answer>(A) or maybe (B)</answer>",
        "#### B A",
        "\\boxed{A, B}",
        "It is (A) or (B)",
        "**A** **B**",
        "The answer is B, but it could also be A",
        "The answer is A. Or perhaps B.",
        "<answer>B; otherwise A</answer>",
        "<answer>A, perhaps B</answer>",
        "#### B - or A",
        "The answer is B? No, it is A.",
    ],
)
@pytest.mark.parametrize("answer", ["A", "B"])
def test_several_letters_are_no_answer_even_when_one_is_right(text: str, answer: str) -> None:
    assert verdict(text, answer) == (0.0, "several_answers")


@pytest.mark.parametrize(
    "text", ["A. Paris", "(A) Paris", "The answer is A: Paris", "<answer>A Paris (A) (B)</answer>"]
)
def test_a_letter_beside_the_text_of_another_option_is_several(text: str) -> None:
    assert verdict(text, "B", CITIES) == (0.0, "several_answers")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "A"),
        ("A cat", "A"),
        ("The answer is A cat", "A"),
        ("<answer>A cat</answer>", "A"),
        ("#### A cat", "A"),
        ("A-level", "A"),
        ("The answer is A-level", "A"),
        ("The answer is C++", "C"),
        ("I think so", "I"),
        ("I am sure", "I"),
        ("The answer is not B", "B"),
        ("ABCD", "B"),
        ("Bonjour", "B"),
        ("<answer>AB</answer>", "A"),
        ("vitamin C", "C"),
        ("f(A)", "A"),
        ("The answer is \\mathbb{C}", "C"),
        ("Ｂ", "B"),
        ("В", "B"),  # Cyrillic
        ("<answer></answer> B", "B"),
        ("B\n<answer>", "A"),
    ],
)
def test_a_letter_of_a_word_is_not_chosen(text: str, answer: str) -> None:
    assert verdict(text, answer)[0] == 0.0


def test_a_word_that_begins_with_a_letter_is_no_answer_or_its_own_option() -> None:
    assert verdict("A dog", "A") == (0.0, "no_answer")
    assert verdict("A dog", "A", CITIES) == (0.0, "wrong")  # it is the text of C
    assert verdict("A dog", "C", CITIES) == (1.0, "")


def test_a_letter_that_no_option_has_is_no_answer() -> None:
    assert verdict("E", "B", CITIES) == (0.0, "no_answer")
    assert verdict("E", "B") == (0.0, "wrong")


@pytest.mark.parametrize("answer", ["B", "b", "(B)", "Paris", "paris"])
def test_the_answer_may_be_a_letter_or_the_text_of_an_option(answer: str) -> None:
    assert verdict("B", answer, CITIES) == (1.0, "")


@pytest.mark.parametrize(
    "choices",
    [
        ["Rome", "Paris"],
        {"label": ["A", "B"], "text": ["Rome", "Paris"]},
        {"A": "Rome", "B": "Paris"},
    ],
)
def test_options_are_read_in_three_forms(choices: object) -> None:
    assert verdict("Paris", "B", Example(id="1", prompt="?", columns={"choices": choices})) == (1.0, "")


def test_two_options_with_one_text_are_one_answer() -> None:
    example = Example(id="1", prompt="?", columns={"choices": ["7", "8", "8"]})
    assert [verdict(text, "B", example)[0] for text in ("8", "B", "C", "A")] == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("answer", ["K", "7", "Berlin", "AB"])
def test_an_answer_that_is_no_option_is_an_error_of_the_data(answer: str) -> None:
    with pytest.raises(DataError, match="expected the answer of cities/1 to be a letter from A to D"):
        Choice().score("B", answer, CITIES)


@pytest.mark.parametrize(
    "choices", ["Rome, Paris", ["Rome"], [1, 2], {"1": "Rome", "2": "Paris"}, ["x"] * 11]
)
def test_options_that_cannot_be_read_are_an_error_of_the_data(choices: object) -> None:
    with pytest.raises(DataError, match="expected 2 to 10 texts in the field 'choices' of q/1"):
        Choice().score("B", "B", Example(id="q/1", prompt="?", columns={"choices": choices}))


@pytest.mark.parametrize(
    "piece", ["A, ", "(A", "answer is ", "**", "\\text{", "A and ", "\\boxed{", "option A ", "(B) ", " ", "$"]
)
def test_a_hostile_text_costs_no_square(piece: str) -> None:
    start = time.process_time()
    verdict(piece * 50_000, "B", CITIES)
    assert time.process_time() - start < 2.0
