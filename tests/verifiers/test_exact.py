"""The exact verifier: equal texts, raw or normalised."""

import pytest

from whet.verifiers.exact import Exact


@pytest.mark.parametrize(
    ("settings", "text", "answer", "value"),
    [
        ({}, "abc", "abc", 1.0),
        ({}, " abc\n", "abc", 1.0),
        ({}, "ABC", "abc", 0.0),
        ({}, "a  b", "a b", 0.0),
        ({}, "abcd", "abc", 0.0),
        ({"strip": False}, "abc ", "abc", 0.0),
        ({"strip": False}, "abc ", "abc ", 1.0),
        ({"ignore_case": True}, "Yes", "yes", 1.0),
        ({"ignore_case": True}, "STRASSE", "straße", 1.0),
        ({"collapse_whitespace": True}, "a \n\t b", "a b", 1.0),
        ({"collapse_whitespace": True, "strip": False}, " a b", "a b", 0.0),
        ({"extract": "tagged"}, "well, <answer>blue</answer>", "blue", 1.0),
        ({"extract": "tagged"}, "well\n#### blue", "blue", 1.0),
        ({"extract": "tagged"}, "\\boxed{blue {x}}", "blue {x}", 1.0),
        ({"extract": "tagged"}, "blue", "blue", 0.0),
    ],
)
def test_texts_are_compared_as_the_settings_say(
    settings: dict[str, object], text: str, answer: str, value: float
) -> None:
    assert Exact(**settings).score(text, answer).value == value


def test_the_detail_tells_a_wrong_text_from_none() -> None:
    assert Exact().score("abd", "abc").detail == "wrong"
    assert Exact().score("", "abc").detail == "no_answer"
    assert Exact().score(" \n", "abc").detail == "no_answer"
    assert Exact(extract="tagged").score("abc", "abc").detail == "no_answer"
    assert Exact().score("abc", "abc").detail == ""


def test_the_values_of_right_and_wrong_are_settings() -> None:
    verifier = Exact(right=0.5, wrong=-0.5)
    assert [verifier.score(text, "a").value for text in ("a", "b")] == [0.5, -0.5]
