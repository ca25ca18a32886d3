"""Marked parts of a text."""

import pytest

from whet.text.tags import after_hash, boxed, marked_answer, tagged


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("<a>1</a>", ["1"]),
        ("<a>1</a> <a>2\n</a>", ["1", "2\n"]),
        ("<a></a>", [""]),
        ("<a>1", []),
        ("1</a>", []),
        ("<a>1<a>2</a>", ["2"]),
        ("<a>1</a>2</a>", ["1"]),
        ("<b>1</b>", []),
        ("<A>1</A>", []),
    ],
)
def test_the_pairs_of_a_tag_are_found(text: str, parts: list[str]) -> None:
    assert tagged(text, "a") == parts


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("", None),
        ("### 1", None),
        ("#### 1", " 1"),
        ("#### 1\n2", " 1"),
        ("#### 1 #### 2", " 2"),
        ("####", ""),
    ],
)
def test_the_rest_of_the_line_after_the_last_hashes_is_found(text: str, rest: str | None) -> None:
    assert after_hash(text) == rest


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("", None),
        ("\\boxed{1}", "1"),
        ("\\boxed {1}", "1"),
        ("\\boxed{\\frac{1}{2}} ", "\\frac{1}{2}"),
        ("\\boxed{1} \\boxed{2}", "2"),
        ("\\boxed{1} \\boxed{2", "1"),
        ("\\boxed{1\\boxed{2}}", "2"),
        ("\\boxed{}", ""),
        ("boxed{1}", None),
        ("\\boxed1", None),
    ],
)
def test_the_last_balanced_box_is_found(text: str, content: str | None) -> None:
    assert boxed(text) == content


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{1} #### 2\n<answer>3</answer>", "3"),
        ("\\boxed{1} #### 2", " 2"),
        ("\\boxed{1}", "1"),
        ("1", None),
        ("<answer>3", None),
    ],
)
def test_a_tag_goes_before_hashes_and_hashes_before_a_box(text: str, answer: str | None) -> None:
    assert marked_answer(text) == answer
