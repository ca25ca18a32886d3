"""The weighted sum of named parts."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from whet import registry
from whet.interfaces import Verifier
from whet.types import Example, Score

PARTS = {
    "answer": {"verifier": {"name": "numeric", "extract": "tagged"}, "weight": 1.0},
    "form": {"verifier": "tags_format", "weight": 0.25},
    "watched": {"verifier": {"name": "length", "target_length": 1, "max_length": 2}, "weight": 0},
}


class Failing(Verifier):
    """Fails on our side."""

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        return Score.failed("timeout", "2 s are over")


@pytest.fixture
def combine() -> Iterator[Any]:
    yield registry.build("verifiers", {"name": "combine", "parts": PARTS})


def test_the_value_is_the_weighted_sum_and_every_part_is_named(combine: Verifier) -> None:
    score = combine.score("<think>a</think><answer>4</answer>", "4")
    assert score.value == 1.25  # 1 * 1 + 0.25 * 1 + 0 * -0.5
    assert score.parts == {"answer": 1.0, "form": 1.0, "watched": -0.5}
    assert score.detail == "watched:too_long"


def test_the_details_of_the_parts_are_joined(combine: Verifier) -> None:
    score = combine.score("4", "4")
    assert (score.value, score.detail) == (0.0, "answer:no_answer form:missing_tag")


def test_a_part_that_fails_fails_the_whole_and_is_not_a_zero() -> None:
    parts = {"answer": {"verifier": "numeric"}, "slow": {"verifier": Failing()}}
    score = registry.build("verifiers", {"name": "combine", "parts": parts}).score("4", "4")
    assert (score.status, score.detail, score.value != score.value) == ("timeout", "slow:2 s are over", True)


class Skipping(Verifier):
    """Applies to nothing."""

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        return Score.skipped("not mine")


def test_a_part_that_does_not_apply_is_left_out_and_where_none_applies_the_whole_is_skipped() -> None:
    parts = {"answer": {"verifier": "numeric", "weight": 0.5}, "other": {"verifier": Skipping(), "weight": 9}}
    score = registry.build("verifiers", {"name": "combine", "parts": parts}).score("4", "4")
    assert (score.value, dict(score.parts), score.detail) == (0.5, {"answer": 1.0}, "other:not mine")
    del parts["answer"]
    alone = registry.build("verifiers", {"name": "combine", "parts": parts}).score("4", "4")
    assert (alone.status, alone.detail) == ("skipped", "other:not mine")


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"a": {"weight": 1}},
        {"a": {"verifier": "no_such"}},
        {"a": {"verifier": "numeric", "weigth": 1}},
        {"a": {"verifier": {"name": "numeric", "extrakt": "last"}}},
        {"a": {"verifier": "numeric", "weight": float("nan")}},
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, object]) -> None:
    with pytest.raises((ValidationError, ValueError)):
        registry.build("verifiers", {"name": "combine", "parts": parts})


def test_the_settings_of_the_parts_survive_writing_and_reading(combine: Verifier) -> None:
    again = registry.build("verifiers", combine.model_dump(mode="json"))
    assert again == combine
    assert again.model_dump()["parts"]["answer"]["verifier"]["extract"] == "tagged"
