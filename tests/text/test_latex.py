"""Final answers of completions, and the one way of writing an answer."""

import pytest

from whet.text.latex import TooLarge, canonical, final_answer, formulas_in, squeezed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<answer>1</answer> then #### 2 and \\boxed{3}", "1"),
        ("<answer>1</answer> no, <answer> 2 </answer>", "2"),
        ("<answer>1", "1"),
        ("#### 2\n\\boxed{3}", "2"),
        ("\\boxed{1} no, \\boxed{2}", "2"),
        ("\\boxed{1} no, \\boxed{2", "1"),
        ("\\fbox{3}", "3"),
        ("\\boxed{\\frac{1}{\\sqrt{2}}} is it", "\\frac{1}{\\sqrt{2}}"),
        ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
        ("\\boxed{\\left\\{1,2\\right.}", "\\left\\{1,2\\right."),
        ("<answer>so \\boxed{7}</answer>", "7"),
        ("#### $\\boxed{7}$", "7"),
        ("\\boxed{}", None),
    ],
)
def test_the_marked_answer_is_found(text: str, found: str | None) -> None:
    assert final_answer(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("So the answer is 12. I am sure.", "12"),
        ("The final answer is: $\\frac{1}{2}$.", "$\\frac{1}{2}$."),
        ("**Answer:** 7", "7"),
        ("The answer is 5. Because of $x$.", "5"),
        ("the answer is 1\nno, the answer is 2", "2"),
        ("We get $x = 1$ and then $x = 2$ here.", "x = 2"),
        ("so it is \\(3\\) as was said before", "3"),
        ("so it is \\[3\\] as was said before", "3"),
        ("some words\n\\frac{1}{2}", "\\frac{1}{2}"),
        ("x + 1", "x + 1"),
        ("there are 3 apples and 1,234 pears there", "1,234"),
        ("there are no apples there", None),
        ("", None),
    ],
)
def test_without_a_mark_the_last_resort_is_taken(text: str, found: str | None) -> None:
    assert final_answer(text) == found


def test_more_than_a_million_characters_are_not_read() -> None:
    with pytest.raises(TooLarge):
        final_answer("x" * 1_000_001)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\\dfrac{1}{2}", "\\frac{1}{2}"),
        ("\\left( 1 \\right)", "( 1 )"),
        ("1,\\!000", "1000"),
        ("1{,}000", "1000"),
        ("3 \\cdot 4", "3 * 4"),
        ("$5$", "5"),
        ("\\(5\\).", "5"),
        ("5!", "5!"),
        ("**5**", "5"),
        ("\\$5", "5"),
        ("90^{\\circ}", "90°"),
        ("x²", "x^{2}"),
        ("\\{1\\}", "⟅1⟆"),
        ("{5}", "5"),
        ("\\mathrm{cm}", "\\text{cm}"),
        ("a \\\\ b", "a ⏎ b"),
        ("\\leq 5", "\\le 5"),
        ("sqrt(2)", "\\sqrt (2)"),
        ("\\sqrt2", "\\sqrt2"),
        ("we have $a$ or $b$", "a , b"),
        ("$a$, $b$", "a , b"),
        ("it is $5$ apples", "5"),
    ],
)
def test_an_answer_has_one_way_of_writing(text: str, written: str) -> None:
    assert canonical(text) == written


@pytest.mark.parametrize("text", ["1 8", "18 ", " 1 8 "])
def test_spaces_between_digits_are_kept(text: str) -> None:
    assert squeezed(canonical(text)) == text.strip()


@pytest.mark.parametrize("text", ["x" * 4097, "(" * 65 + ")" * 65, "1" * 257, ("9" * 256 + " ") * 9])
def test_what_is_beyond_a_limit_is_refused(text: str) -> None:
    with pytest.raises(TooLarge):
        canonical(text)


def test_the_formulas_of_a_text_are_found() -> None:
    assert formulas_in("a $b$ c $$d$$ \\(e\\) \\[f\\] \\$5") == ["b", "d", "e", "f"]
