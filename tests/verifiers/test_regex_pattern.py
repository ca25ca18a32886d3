"""Where a pattern comes from, what matches, and what is no pattern."""

import pytest
from pydantic import ValidationError

from whet.errors import DataError
from whet.types import Example
from whet.verifiers.regex_pattern import RegexPattern


@pytest.mark.parametrize(
    ("pattern", "full", "text", "value"),
    [
        (r"\d+", False, "it is 42.", 1.0),
        (r"\d+", True, "it is 42.", 0.0),
        (r"\d+", True, " 42\n", 1.0),
        (r"^no", False, "yes or no", 0.0),
        (r"(?i)YES", False, "well, yes", 1.0),
        (r"a.c", True, "a\nc", 0.0),
        (r"(?s)a.c", True, "a\nc", 1.0),
        (r"a|ab", True, "ab", 1.0),
        (r"", True, "", 1.0),
        (r"", True, "x", 0.0),
    ],
)
def test_a_text_matches_somewhere_or_as_a_whole(pattern: str, full: bool, text: str, value: float) -> None:
    assert RegexPattern(pattern=pattern, full=full).score(text, "").value == value


def test_without_a_setting_the_answer_is_the_pattern() -> None:
    assert RegexPattern().score("b7", r"^[a-c]\d$").value == 1.0
    assert RegexPattern().score("d7", r"^[a-c]\d$").value == 0.0


def test_with_a_setting_the_answer_is_not_looked_at() -> None:
    assert RegexPattern(pattern="x").score("x", "(").value == 1.0


def test_what_does_not_match_says_so() -> None:
    assert RegexPattern(pattern="x").score("", "").detail == "no_match"


@pytest.mark.parametrize("pattern", ["(", "[a", "a{2,1}", "*", "(?P<n>", "a{99999999999}"])
def test_a_setting_that_does_not_compile_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="expected a regular expression of Python, found"):
        RegexPattern(pattern=pattern)


def test_an_answer_that_does_not_compile_is_an_error_of_the_data() -> None:
    with pytest.raises(DataError, match=r"in the answer of row/3, found '\(' \(missing \)"):
        RegexPattern().score("x", "(", Example(id="row/3", prompt="p"))


def test_a_row_without_a_pattern_is_an_error_of_the_data() -> None:
    with pytest.raises(DataError, match="regex_pattern compares with the answer, and row/3 has none"):
        RegexPattern().score("x", "", Example(id="row/3", prompt="p"))
