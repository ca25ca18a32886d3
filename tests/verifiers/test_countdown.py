"""Only an expression of the given numbers, each once, with the value asked for is right."""

import time

import pytest

import whet
from whet import registry
from whet.errors import DataError
from whet.verifiers.countdown import Countdown

SOLUTION = "(25-3)*7"  # 154


@pytest.mark.parametrize(
    "text",
    [
        "(25-3)*7",
        "7*(25-3)",
        " ( 25 - 3 ) * 7 ",
        "(25-3)*7 = 154",
        "25*7-3*7 does not work.\n(25-3)*7\n",
        "<think>25*7</think><answer>(25-3)*7</answer> so it is 154",
        "#### (25-3)*7",
        "\\boxed{(25-3)*7}",
    ],
)
@pytest.mark.parametrize("answer", [SOLUTION, "3 7 25 = 154", "25, 3, 7 = 154"])
def test_every_solution_is_right(text: str, answer: str) -> None:
    assert Countdown().score(text, answer).value == 1.0


@pytest.mark.parametrize(
    ("answer", "text", "detail"),
    [
        ("2 3 4 = 32", "2**3*4", "malformed"),
        ("1 5 2 = 3", "1.5*2", "malformed"),
        ("7 2 1 = 4", "7//2+1", "malformed"),
        ("9 9 9 = 81", "9**9**9", "malformed"),
        ("3 7 25 = 154", "154", "other_numbers"),
        ("3 7 25 = 154", "25*7-3*7", "other_numbers"),
        ("3 7 25 = 154", "(25-3)*7*1", "other_numbers"),
        ("3 7 25 = 4", "7-3*1", "other_numbers"),
        ("12 3 = 15", "1+2*7", "other_numbers"),
        ("3 7 25 = 154", "(25-3)*7 = 155", "other_value"),
        ("3 7 25 = 155", "(25-3)*7", "other_value"),
        ("3 7 25 = 155", "(25-3)*7 = 155", "other_value"),
        ("1 3 = 0", "1/3", "other_value"),
        ("3 4 = 7", "٣+٤", "malformed"),
        ("3 4 = 7", "３+４", "malformed"),
        ("3 4 = 7", "-3+4+6", "malformed"),
        ("3 4 = 7", "3+4 = 3+4", "malformed"),
        ("3 4 = 7", "3+4=7=7", "malformed"),
        ("3 4 = 7", "3+4 is the answer", "malformed"),
        ("3 4 = 7", "3/0", "malformed"),
        ("3 4 = 7", "<answer>4+3</answer> no, <answer>4-3</answer>", "other_value"),
        ("3 4 = 7", "", "no_answer"),
        ("3 4 = 7", " \n", "no_answer"),
    ],
)
def test_what_keeps_to_no_rule_is_wrong_and_says_why(answer: str, text: str, detail: str) -> None:
    began = time.perf_counter()
    score = Countdown().score(text, answer)
    assert (score.value, score.status, score.detail) == (0.0, "ok", detail)
    assert time.perf_counter() - began < 0.1


def test_a_fraction_on_the_way_is_exact() -> None:
    assert Countdown().score("8/(3-8/3)", "3 3 8 8 = 24").value == 1.0


def test_all_numbers_are_asked_for_when_told() -> None:
    assert Countdown().score("3+4", "3 4 9 = 7").value == 1.0
    assert Countdown(must_use_all=True).score("3+4", "3 4 9 = 7").detail == "other_numbers"


def test_a_legal_expression_may_have_a_value_of_its_own() -> None:
    verifier = Countdown(legal=0.1)
    assert [verifier.score(text, SOLUTION).value for text in (SOLUTION, "25*7-3", "26", "25*")] == [
        1,
        0.1,
        0,
        0,
    ]


@pytest.mark.parametrize("answer", ["x", "3 4", "3/4", "3 x = 7", "3 4 = x", "3 4 = -1", "= 7", "٣ ٤ = 7"])
def test_an_answer_of_another_form_is_refused(answer: str) -> None:
    with pytest.raises(DataError, match="such as 3 7 25 = 154"):
        Countdown().score("3+4", answer)


def test_problems_are_solved_by_their_own_answers_with_all_numbers() -> None:
    task = registry.build("tasks", {"name": "countdown", "max_numbers": 6, "max_target": 5000})
    strict = Countdown(must_use_all=True)
    for example in task.examples("train"):
        numbers, target = example.prompt.removesuffix("=").split(" make ")
        assert strict.score(example.answer, f"{numbers} = {target}").value == 1.0
        assert target not in numbers.split()


@pytest.mark.parametrize(
    "text", ["(25-3)×7", "(25 − 3) * 7", "\\boxed{(25-3)\\cdot 7}", "`(25-3)*7`.", "$(25-3)\\times 7 = 154$"]
)
def test_the_signs_of_print_and_latex_are_read(text):
    assert whet.verifier("countdown").score(text, "3 7 25 = 154").value == 1.0
