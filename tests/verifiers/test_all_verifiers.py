"""What every verifier that ships with whet promises."""

import math

import pytest
from pydantic import ValidationError

from whet import registry
from whet.errors import DataError
from whet.types import Example

SETTINGS = {
    "combine": {"parts": {"a": {"verifier": "numeric"}}},
    "json_schema": {"json_schema": {"type": "object"}},
}
ANSWERS = {"choice": "B"}
"""Where 7 is none."""
ROW = Example(
    id="row/0",
    prompt="p",
    columns={
        "events": [["Talk", "09:00", "10:00"]],
        "priority_events": ["Talk"],
        "tests": "assert f(1) == 2",
        "game": 1,
    },
)
TEXTS = [
    "",
    " ",
    "7",
    "x",
    "\x00",
    "🙂" * 50,
    "<answer>",
    "#### ",
    "\\boxed{",
    "�",
    "\ud800",
    "<think></think>",
]


@pytest.mark.parametrize("name", registry.names("verifiers"))
@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_text_gets_a_finite_value_and_the_same_one_twice(name: str, text: str) -> None:
    verifier = registry.build("verifiers", {"name": name, **SETTINGS.get(name, {})})
    answer = ANSWERS.get(name, "7")
    first, second = verifier.score(text, answer, ROW), verifier.score(text, answer, ROW)
    assert first.status == "ok" and math.isfinite(first.value)
    assert first == second


@pytest.mark.parametrize("name", registry.names("verifiers"))
def test_settings_survive_writing_and_reading(name: str) -> None:
    verifier = registry.build("verifiers", {"name": name, **SETTINGS.get(name, {})})
    assert registry.build("verifiers", verifier.model_dump(mode="json")) == verifier


@pytest.mark.parametrize(
    "name", ["choice", "exact", "math_expression", "numeric", "numeric_distance", "regex_pattern"]
)
def test_a_verifier_that_compares_refuses_an_example_without_an_answer(name: str) -> None:
    verifier = registry.build("verifiers", name)
    with pytest.raises(DataError, match=f"{name} compares with the answer, and words/3 has none"):
        verifier.score("", "", Example(id="words/3", prompt="p"))


@pytest.mark.parametrize("name", ["math_expression", "numeric", "numeric_distance"])
def test_an_answer_may_be_a_number(name: str) -> None:
    verifier = registry.build("verifiers", name)
    assert [verifier.score("7.5", answer).value == 1.0 for answer in (7.5, 7)] == [True, False]


@pytest.mark.parametrize(
    "name", ["choice", "countdown", "exact", "math_expression", "numeric", "regex_pattern"]
)
def test_an_example_without_an_answer_is_refused_before_a_run_where_one_is_compared_with(name: str) -> None:
    judge = registry.build("verifiers", {"name": name})
    judge.check(Example(id="row/7", prompt="p", answer="7"))
    with pytest.raises(DataError, match="row/7"):
        judge.check(Example(id="row/7", prompt="p"))
    with pytest.raises(DataError, match="row/7"):
        parts = {"a": {"verifier": name}, "b": {"verifier": "length"}}
        registry.build("verifiers", {"name": "combine", "parts": parts}).check(
            Example(id="row/7", prompt="p")
        )


@pytest.mark.parametrize("name", ["code_tests", "math_expression", "strategy_2048"])
def test_what_runs_apart_already_takes_no_worker_whose_deadline_would_be_ours(name: str) -> None:
    with pytest.raises(ValidationError, match="leave isolation at none"):
        registry.load("verifiers", name)(name=name, isolation="worker")
