"""The numeric verifier: which texts hold which number, and that nothing else does."""

import re
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.errors import DataError
from whet.text.numbers import numbers_in
from whet.verifiers.numeric import Numeric

RIGHT = [
    ("18", "18"),
    ("So she has 18 eggs.", "18"),
    ("3.", "3"),
    ("007", "7"),
    ("18.0", "18"),
    ("0.10", ".1"),
    ("1,000", "1000"),
    ("1000", "1,000"),
    ("1,234,567.50", "1234567.5"),
    ("$1,234.50.", "1234.5"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    ("+5", "5"),
    ("50%", "50"),
    ("12+30=42", "42"),
    ("x = - 5", "-5"),
    ("1e3", "1000"),
    ("2.5E-1", "0.25"),
    ("3/4", "0.75"),
    ("-3/4", "-0.75"),
    ("**42**", "42"),
    ("(42)", "42"),
    ("5kg", "5"),
    ("$5/hour", "5"),
    ("the 3rd", "3"),
    ("\\$42\\%", "42"),
    ("10,\\!000", "10000"),
    ("1{,}000", "1000"),
    ("1\\,000", "1000"),
    ("1\u202f000", "1000"),  # narrow no-break space
    ("４２", "42"),  # full-width digits
    ("٤٢", "42"),  # Arabic-Indic digits
    ("−3", "-3"),  # minus sign
    ("－３", "-3"),  # full-width minus
    ("12 apples, 7 pears", "7"),
    ("0", "-0"),
]


@pytest.mark.parametrize(("text", "answer"), RIGHT)
def test_a_text_with_the_number_is_right(text: str, answer: str) -> None:
    score = Numeric().score(text, answer)
    assert (score.value, score.status, score.detail) == (1.0, "ok", "")


WRONG = [
    ("14", "4"),
    ("4", "14"),
    ("41", "4"),
    ("-3", "3"),
    ("3", "-3"),
    ("−3", "3"),
    ("1,000", "1"),
    ("1,000", "0"),
    ("3.5", "3"),
    ("3.5", "5"),
    ("0.5", "5"),
    (".5", "5"),
    ("50%", "0.5"),
    ("1e3", "1"),
    ("1e3", "3"),
    ("3/4", "4"),
    ("3/4", "3"),
    ("18 or 19", "18"),
    ("1 + 2", "1"),
]


@pytest.mark.parametrize(("text", "answer"), WRONG)
def test_another_number_is_wrong_and_says_so(text: str, answer: str) -> None:
    score = Numeric().score(text, answer)
    assert (score.value, score.status, score.detail) == (0.0, "ok", "wrong")


NO_NUMBER = [
    ("", "0"),
    ("no idea", "0"),
    ("1,00", "0"),  # separators in the wrong place
    ("12,34", "34"),
    ("0,123", "123"),
    ("1.2.3", "3"),
    ("5-10", "10"),
    ("5–10", "10"),
    ("10-4", "4"),
    ("12:30", "30"),
    ("2^3", "3"),
    ("2**3", "3"),
    ("2*3", "3"),
    ("84/7", "12"),  # an exercise, not an answer
    ("84/7", "7"),
    ("4/1", "4"),
    ("3/0", "0"),
    ("5²", "5"),
    ("5²", "52"),
    ("3½", "3"),
    ("√16", "16"),
    ("±5", "5"),
    ("--5", "5"),
    ("$80k", "80"),
    ("5 million", "5"),
    ("5万", "5"),
    ("H2O", "2"),
    ("x-3", "3"),
    ("x-3", "-3"),
    ("A4", "4"),
    ("1e999", "1"),
    ("7" * 257, "7"),
]


@pytest.mark.parametrize(("text", "answer"), NO_NUMBER)
def test_what_cannot_be_read_is_no_answer_and_never_a_part_of_it(text: str, answer: str) -> None:
    score = Numeric().score(text, answer)
    assert (score.value, score.status, score.detail) == (0.0, "ok", "no_answer")


def test_a_number_of_256_digits_is_compared_exactly() -> None:
    assert Numeric().score("7" * 256, "7" * 256).value == 1.0
    assert Numeric().score("7" * 255 + "8", "7" * 256).value == 0.0


MARKED = [
    ("<answer>42</answer>", "42"),
    ("<answer> x = $42. </answer> or 7", "42"),
    ("<answer>7</answer> no, <answer>42</answer>", "42"),
    ("<answer>- 5</answer>", "-5"),
    ("<answer>The answer is 42 eggs</answer>", "42"),
    ("#### 42\n7 is not it", "42"),
    ("####42", "42"),
    ("so \\boxed{42} and not 7", "42"),
    ("\\boxed{42\\text{ cm}}", "42"),
    ("\\boxed {42}", "42"),
    ("\\boxed{7} \\boxed{42}", "42"),
    ("\\boxed{42} \\boxed{7", "42"),
    ("<answer>42</answer> #### 7 \\boxed{7}", "42"),
    ("#### 42\n\\boxed{7}", "42"),
]


@pytest.mark.parametrize(("text", "answer"), MARKED)
@pytest.mark.parametrize("extract", ["auto", "tagged"])
def test_the_marked_answer_counts_and_nothing_beside_it(text: str, answer: str, extract: str) -> None:
    assert Numeric(extract=extract).score(text, answer).value == 1.0


MARKED_NO_ANSWER = [
    ("<answer>41 42</answer>", "42"),  # two guesses
    ("<answer>none</answer> 42", "42"),
    ("<answer></answer> 42", "42"),
    ("#### so 41 or 42", "42"),
    ("####\n42", "42"),
    ("\\boxed{\\sqrt{16}}", "16"),
    ("\\boxed{\\frac{1}{2}}", "2"),
    ("\\boxed{5\\pi}", "5"),
]


@pytest.mark.parametrize(("text", "answer"), MARKED_NO_ANSWER)
def test_a_marked_answer_that_is_not_one_number_is_no_answer(text: str, answer: str) -> None:
    assert Numeric().score(text, answer).detail == "no_answer"


@pytest.mark.parametrize("text", ["42", "<answer>42", "42</answer>", "the answer is 42", "\\boxed{42"])
def test_tagged_extraction_wants_a_whole_mark(text: str) -> None:
    assert Numeric(extract="tagged").score(text, "42").detail == "no_answer"
    assert Numeric(extract="auto").score(text, "42").value == 1.0


def test_last_extraction_ignores_marks() -> None:
    assert Numeric(extract="last").score("<answer>42</answer> 7", "7").value == 1.0


def test_the_values_of_right_and_wrong_are_settings() -> None:
    verifier = Numeric(right=2.0, wrong=-1.0)
    assert [verifier.score(text, "4").value for text in ("4", "5", "")] == [2.0, -1.0, -1.0]


def test_the_answer_may_be_a_whole_solution() -> None:
    assert Numeric().score("18", "She has 16+2=18 eggs.\n#### 18").value == 1.0


@pytest.mark.parametrize("answer", ["many", "3 or 4", "1,00"])
def test_an_answer_without_one_number_is_our_failure(answer: str) -> None:
    with pytest.raises(DataError, match="expected an answer that is one number"):
        Numeric().score("3", answer)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12))
def test_every_way_to_write_a_decimal_reads_as_the_same_number(value: Decimal) -> None:
    written = [f"{value:f}", f"{value:,f}", f"{value:f}0", f"is {value:,f}.", f"({value:f})", f"{value:f}%"]
    assert [list(numbers_in(text)) for text in written] == [[Fraction(value)]] * len(written)


@given(
    st.integers(-(10**15), 10**15),
    st.integers(0, 9),
    st.sampled_from(["{}", "#### {}", "<answer>{}</answer>"]),
)
def test_a_corrupted_gold_never_scores(value: int, digit: int, form: str) -> None:
    text = str(value)
    corrupted = {
        str(value + 1),
        str(value - 1),
        str(-value),
        f"{text}{digit}",
        text[:-1],
        f"{text}.{digit or 1}",
    }
    for wrong in corrupted - {text, "", "-", "-0"}:
        if Fraction(wrong) != value:
            assert Numeric().score(form.format(wrong), text).value == 0.0, (wrong, text)


@given(st.text(max_size=200))
def test_no_text_raises(text: str) -> None:
    assert Numeric().score(text, "12345678901").status == "ok"


HUGE = ["9" * 10**6, "1," * 10**5, "= -" + " " * 10**6, "-" * 10**6, "\\boxed{" * 10**5, "<answer>" * 10**5]


@pytest.mark.parametrize("text", HUGE, ids=lambda text: text[:8])
@pytest.mark.parametrize("extract", ["auto", "tagged", "last", "strict", "flexible"])
def test_huge_texts_do_not_hang(text: str, extract: str) -> None:
    start = time.process_time()
    assert Numeric(extract=extract).score(text, "1").value == 0.0
    assert time.process_time() - start < 2.0


# lm-eval's filters (`group_select` 0 and -1) and the metric's normalisation, written as its own gsm8k.yaml has them.
def lm_eval_exact_match(completion: str, solution: str, rule: str) -> bool:
    if rule == "strict":
        found = re.findall(r"#### (\-?[0-9\.\,]+)", completion)[:1]
    else:
        pairs = re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", completion)[-1:]
        found = [next(group for group in pair if group) for pair in pairs]
    sides = [found[0].strip() if found else "[invalid]", solution]
    for ignored in (",", "\\$", "(?s).*#### ", "\\.$"):
        sides = [re.sub(ignored, "", side) for side in sides]
    return sides[0].lower() == sides[1].lower()


OUTPUTS = [
    "16-3-4=9, 9*2=18\n#### 18",
    "#### 18.",
    "#### 18.00",
    "#### $18",
    "####18",
    "#### 18\n\nQuestion: more?\n#### 7",
    "#### 7\n#### 18",
    "#### 1,8",
    "#### -18",
    "#### .",
    "the answer is 18",
    "the answer is $18.",
    "18 dollars a day, 5 days",
    "It is 18...",
    "18, 19",
    "18 -",
    "-18",
    "$18.00",
    "x = 1 8",
    "18 .",
    "no number",
    "",
    "#### eighteen 18",
    "1,8",
    "$",
    "$$",
    "18 $",
    "18 $$",
    "５",
]


@pytest.mark.parametrize("rule", ["strict", "flexible"])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("gold", ["18", "1,800", "-18"])
def test_strict_and_flexible_equal_the_rules_of_lm_eval(output: str, gold: str, rule: str) -> None:
    output = output.replace("18", gold) if gold != "18" else output
    solution = f"She makes 9 * 2 = $<<9*2=18>>18.\n#### {gold}"
    expected = lm_eval_exact_match(output, solution, rule)
    verifier = Numeric(extract=rule)
    assert bool(verifier.score(output, solution).value) is expected
    assert bool(verifier.score(output, gold).value) is expected


@given(st.text(alphabet="0123456789-.,$# \nab", max_size=40), st.integers(-99, 9999))
def test_strict_and_flexible_equal_lm_eval_on_any_text(output: str, gold: int) -> None:
    for rule in ("strict", "flexible"):
        expected = lm_eval_exact_match(output, f"so\n#### {gold:,}", rule)
        assert bool(Numeric(extract=rule).score(output, f"{gold:,}").value) is expected


def test_the_two_rules_of_lm_eval_differ_where_they_should() -> None:
    strict, flexible = Numeric(extract="strict"), Numeric(extract="flexible")
    assert (strict.score("18", "18").detail, flexible.score("18", "18").value) == ("no_answer", 1.0)
    assert (strict.score("#### 18 (7)", "18").value, flexible.score("#### 18 (7)", "18").detail) == (
        1.0,
        "wrong",
    )
