"""Steps that hold, steps that do not, and texts made to look like steps."""

import time

import pytest
from pydantic import ValidationError

import whet
from whet.config import load_config
from whet.verifiers.reasoning_steps import ReasoningSteps


def value(text: str, **settings: float) -> float:
    return ReasoningSteps(name="reasoning_steps", **settings).score(text, "0").value


@pytest.mark.parametrize(
    "step",
    [
        "3 + 4 = 7",
        "48/2 = 24",
        "16 - 3 - 4 = 9",
        "2 + 3 * 4 = 14",  # products first
        "$1,000 x 2 = $2,000",
        "5 - 8 = -3",
        "10 ÷ 4 = 2.5",
        "10/3 = 3.33",  # rounded to what it shows
        "200 * 15% = 30",
        "100% - 20% = 80%",
        "So 6×7=42.",
    ],
)
def test_a_step_that_holds_is_the_full_value_where_one_is_asked_for(step: str) -> None:
    assert value(step, target_steps=1) == 0.5


@pytest.mark.parametrize(
    "step",
    [
        "3 + 4 = 8",
        "2 + 3 * 4 = 20",
        "10/3 = 3",  # a whole number shows no decimals, so nothing was rounded
        "10/3 = 3.34",
        "5/0 = 0",
        "0/0 = 1",
        "3 + 4 = 70",
        "3 + 4 = -7",
        "10 * 10% = 10",
    ],
)
def test_a_step_that_does_not_hold_is_worth_nothing(step: str) -> None:
    score = ReasoningSteps(name="reasoning_steps", target_steps=1).score(step, "0")
    assert (score.value, score.status, score.detail) == (0.0, "ok", "wrong_step")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "7 = 7",
        "3 + 4",
        "= 7",
        "x + 4 = 7",
        "3 + 4 = seven",
        "3 + 4 = 7 * 2",  # run on: which of the two it claims is unclear
        "(1 + 2) * 3 + 4 = 7",  # no part of a longer computation stands for the whole
        "3.4.5 + 1 = 5",
    ],
)
def test_what_is_no_step_counts_as_none(text: str) -> None:
    assert ReasoningSteps(name="reasoning_steps").score(text, "0").detail == "no_steps"


def test_a_wrong_step_takes_from_the_right_ones() -> None:
    assert value("1 + 1 = 2\n2 + 2 = 4\n3 + 3 = 7") == pytest.approx(0.5 * 2 / 3)
    assert value("1 + 1 = 2\n2 + 2 = 4") == 0.5


def test_fewer_steps_than_asked_for_are_a_share() -> None:
    assert value("1 + 1 = 2", target_steps=4) == 0.125  # 0.5 * 1/4


def test_saying_one_step_again_adds_nothing() -> None:
    assert value("1 + 1 = 2\n" * 50) == 0.25  # 0.5 * 1/2


def test_more_steps_than_asked_for_add_nothing() -> None:
    assert value("\n".join(f"{n} + 1 = {n + 1}" for n in range(500))) == 0.5


@pytest.mark.parametrize("cap", [0.1, 0.25, 0.9])
def test_the_full_value_is_the_cap(cap: float) -> None:
    assert value("1 + 1 = 2\n2 + 2 = 4", cap=cap) == cap


@pytest.mark.parametrize("cap", [0.0, 1.0, 2.0, -0.5])
def test_no_cap_makes_steps_worth_a_right_answer(cap: float) -> None:
    with pytest.raises(ValidationError, match="cap"):
        ReasoningSteps(cap=cap)


@pytest.mark.parametrize(
    "text",
    [
        "1+" * 100_000,
        "9" * 200_000,
        "1 " * 100_000,
        "1+1=" * 50_000,
        "$" * 200_000,
        "1,111" * 40_000,
        "1 - " * 50_000,
    ],
)
def test_a_hostile_text_costs_no_square(text: str) -> None:
    start = time.process_time()
    value(text + "=1")
    assert time.process_time() - start < 2.0


def test_beside_the_answer_no_form_and_no_true_step_makes_a_wrong_one_right() -> None:
    config = load_config([{"max_steps": 1, "policy": "from_scratch", "task": "gsm8k"}, "gsm8k_parts"])
    steps = "\n".join(f"{n} + 1 = {n + 1}" for n in range(50))
    verifier = config.task.verifier
    assert verifier is not None
    best_wrong = verifier.score(f"<think>{steps}</think><answer>41</answer>", "42").value
    bare_right = verifier.score("#### 42", "42").value
    best = verifier.score(f"<think>{steps}</think><answer>42</answer>", "42").value
    assert (best_wrong, bare_right, best) == (1.0, 2.0, 3.0)
    assert best_wrong < config.eval.threshold <= bare_right


@pytest.mark.parametrize("again", ["1 + 1 = 2", "01+1=2", "1+1=02"])
def test_a_step_that_is_only_spelled_otherwise_counts_once(again):
    assert whet.verifier("reasoning_steps", cap=0.5).score(f"1+1=2\n{again}", "").value == 0.25
