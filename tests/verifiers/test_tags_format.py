"""The form of a completion: each tag once, in order, nothing outside, nothing empty."""

import pytest

from whet.verifiers.tags_format import TagsFormat


@pytest.mark.parametrize(
    "text",
    [
        "<think>a</think><answer>b</answer>",
        "\n<think>\na < b\n</think>\n\n<answer> b </answer>\n",
        "<think><b>bold</b></think><answer>b</answer>",
    ],
)
def test_the_wanted_form_has_full_value(text: str) -> None:
    score = TagsFormat().score(text, "")
    assert (score.value, score.detail) == (1.0, "")


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "missing_tag"),
        ("b", "missing_tag"),
        ("<think>a</think>", "missing_tag"),
        ("<think>a</think><answer>b", "missing_tag"),
        ("<Think>a</Think><answer>b</answer>", "missing_tag"),
        ("a</think><answer>b</answer>", "missing_tag"),
        ("<think>a</think><answer>b</answer><answer>c</answer>", "repeated_tag"),
        ("<think><think>a</think><answer>b</answer>", "repeated_tag"),
        ("<answer>b</answer><think>a</think>", "misplaced_text"),
        ("<think>a<answer>b</answer></think>", "misplaced_text"),
        ("</think>a<think><answer>b</answer>", "misplaced_text"),
        ("so <think>a</think><answer>b</answer>", "misplaced_text"),
        ("<think>a</think> so <answer>b</answer>", "misplaced_text"),
        ("<think>a</think><answer>b</answer>.", "misplaced_text"),
        ("<think> </think><answer>b</answer>", "misplaced_text"),
        ("<think>a</think><answer></answer>", "misplaced_text"),
    ],
)
def test_any_other_form_has_none_and_says_why(text: str, detail: str) -> None:
    score = TagsFormat().score(text, "")
    assert (score.value, score.detail) == (0.0, detail)


def test_the_prompt_may_have_opened_the_first_tag() -> None:
    verifier = TagsFormat(first_tag_open=True)
    assert verifier.score("a</think><answer>b</answer>", "").value == 1.0
    assert verifier.score("<think>a</think><answer>b</answer>", "").detail == "repeated_tag"


def test_tags_and_values_are_settings() -> None:
    verifier = TagsFormat(tags=("plan",), right=0.2, wrong=-0.1)
    assert [verifier.score(text, "").value for text in ("<plan>x</plan>", "x")] == [0.2, -0.1]
