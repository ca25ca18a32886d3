"""The mathematical verifier: which answers are the same, which are not, and what no text may do."""

import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.errors import ConfigError, DataError
from whet.rollouts.score import score_text
from whet.sandbox import pool
from whet.types import Example
from whet.verifiers import math_expression
from whet.verifiers.math_expression import MathExpression


@pytest.fixture(scope="module", autouse=True)
def warm():
    MathExpression().warm_up()


PATIENT = MathExpression(timeout_s=30)  # whatever else this machine does


def verdict(gold: str, found: str) -> str:
    """The detail of a boxed answer; `right` for the full value."""
    score = PATIENT.score(f"so \\boxed{{{found}}}", gold)
    assert score.status == "ok" and score.value == float(not score.detail)
    return score.detail or "right"


SAME = [
    # numbers
    ("\\frac{1}{2}", "0.5"),
    ("\\frac{1}{2}", "1/2"),
    ("\\frac12", "\\dfrac{1}{2}"),
    ("-\\frac{1}{2}", "\\frac{-1}{2}"),
    ("-\\frac{1}{2}", "\\frac{1}{-2}"),
    ("3\\frac{1}{2}", "\\frac{7}{2}"),
    ("-3\\frac{1}{2}", "-3.5"),
    ("3.5", "3 1/2"),
    ("11,\\!880", "11880"),
    ("11880", "11,880"),
    ("24{,}000", "24000"),
    ("0.\\overline{3}", "\\frac{1}{3}"),
    ("0.1\\overline{6}", "1/6"),
    ("1024", "2^{10}"),
    ("3 \\times 10^{4}", "30000"),
    ("10", "\\binom{5}{2}"),
    ("120", "5!"),
    # radicals and constants
    ("2\\sqrt{3}", "\\sqrt{12}"),
    ("2\\sqrt3", "2 * sqrt(3)"),
    ("\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt{2}}"),
    ("2", "\\sqrt[3]{8}"),
    ("-2", "\\sqrt[3]{-8}"),
    ("\\frac{\\pi}{2}", "0.5\\pi"),
    ("\\frac{5}{3}\\pi - 2\\sqrt{3}", "-2√3 + 5π/3"),
    ("1-\\frac{1}{e}", "\\frac{e-1}{e}"),
    ("-1", "e^{i\\pi}"),
    ("2+3i", "3i + 2"),
    ("3", "\\log_2 8"),
    ("\\frac{1}{2}", "\\sin 30^\\circ"),
    ("\\sqrt{5}+2", "\\frac{1}{\\sqrt{5}-2}"),
    # formulas
    ("x^2-1", "(x-1)(x+1)"),
    ("x^2 - 3x - 10", "-10 + x^2 - 3x"),
    ("\\sin^2 x", "1 - \\cos^2 x"),
    ("|x|", "\\sqrt{x^2}"),
    ("x_1 + x_{2}", "x_2 + x_{1}"),
    ("a\\cdot b", "ba"),
    ("\\frac{a}{b}", "a/b"),
    ("x^{1/3}", "\\sqrt[3]{x}"),
    ("\\frac{n(n+1)}{2}", "\\frac{n(n-1)}{2} + n"),
    # equations and inequalities
    ("x = 5", "5"),
    ("5", "x = 5"),
    ("5", "a + b = 5"),
    ("5", "2 + 3 = 5"),
    ("y = 2x + 3", "2x - y + 3 = 0"),
    ("y = 2x + 3", "2x + 3"),
    ("x + y + z = 0", "2x + 2y + 2z = 0"),
    ("s^2 \\le 8r^2", "8r^2 \\ge s^2"),
    ("x < 3", "3 > x"),
    ("AB = 9, CD = 4", "AB = 9 \\text{ and } CD = 4"),
    # intervals, tuples, sets, lists, matrices
    ("[-1,4]", "\\left[ -1, 4 \\right]"),
    ("(3,\\infty)", "x > 3"),
    ("-1 \\le x < 2", "[-1,2)"),
    ("(-\\infty,-1)\\cup(1,\\infty)", "(1,\\infty) \\cup (-\\infty,-1)"),
    ("(-\\infty,-1)\\cup(1,\\infty)", "x < -1 \\text{ or } x > 1"),
    ("(-\\infty,\\infty)", "\\mathbb{R}"),
    ("[0,1]", "x \\in [0,1]"),
    ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3, \\pi/2)"),
    ("(100,101)", "(100, 101)"),
    ("-2, 3", "3, -2"),
    ("-2, 3", "x = -2 \\text{ or } x = 3"),
    ("\\{1,2\\}", "\\{2,1\\}"),
    ("\\{5\\}", "5"),
    ("6, 8\\text{, and }10", "6, 8, 10"),
    ("1 \\pm \\sqrt{2}", "1 - \\sqrt{2}, 1 + \\sqrt{2}"),
    ("100, 101", "100,101"),
    (
        "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
        "\\begin{bmatrix}1&2\\\\3&\\frac{8}{2}\\end{bmatrix}",
    ),
    # percent, degrees, money, units, words, other bases
    ("50\\%", "50"),
    ("50\\%", "\\frac{1}{2}"),
    ("0.5", "50\\%"),
    ("90^\\circ", "90"),
    ("90^{\\circ}", "90°"),
    ("\\$5.50", "5.5"),
    ("12\\sqrt{13}\\text{ feet}", "12\\sqrt{13}"),
    ("12", "12 \\text{ square units}"),
    ("5 cm", "5 \\text{ centimeters}"),
    ("6\\text{ cm}^2", "6"),
    ("6\\text{ cm}^2", "6 square centimeters"),
    ("4\\text{ apples}", "4 apples"),
    ("\\text{Wednesday}", "wednesday"),
    ("\\text{(B)}", "B"),
    ("\\text{A, C}", "C, A"),
    ("2516_8", "2516_{8}"),
    ("2516_8", "2516"),
    ("\\frac{2}{3} \\approx 0.67", "2/3"),
]


@pytest.mark.parametrize(("gold", "found"), SAME)
def test_the_same_answer_in_another_notation_is_right(gold: str, found: str) -> None:
    assert verdict(gold, found) == "right"


DIFFERENT = [
    ("1-\\frac{1}{e}", "1+\\frac{1}{e}"),
    ("\\frac{1}{3}", "0.333333"),
    ("0.1234567", "0.1234568"),
    ("0", "10^{-200}\\pi"),
    ("0", "10^{-60}"),
    ("\\pi", "3.14159265358979323846264338327950288"),
    ("\\pi", "\\frac{22}{7}"),
    ("\\frac{1}{2}", "\\frac{2}{1}"),
    ("18", "1 8"),
    ("12", "1\\,2"),
    ("1234", "1,23,4"),
    ("12", "1,2"),
    ("3", "-3"),
    ("2", "\\sqrt{2}"),
    ("2", "\\pm 2"),
    ("\\infty", "-\\infty"),
    ("e^{\\pi\\sqrt{163}}", "262537412640768744"),  # they differ by 7.5e-13
    ("x", "|x|"),
    ("x", "y"),
    ("x", "X"),
    ("x^2", "x^3"),
    ("x^2-1", "x^2+1"),
    ("x-y", "y-x"),
    ("x = 5", "y = 5"),
    ("y = 2x + 3", "y = 2x - 3"),
    ("x < 3", "x \\le 3"),
    ("x < 3", "x > 3"),
    ("x < 3", "-x < -3"),
    ("x \\ne 3", "x = 3"),
    ("[-1,4]", "(-1,4)"),
    ("[-1,4]", "[-1,4)"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "1,2"),
    ("\\{1,2\\}", "(1,2)"),
    ("(1,2,3)", "(1,2)"),
    ("1,2", "1,2,2"),
    ("1,1,2", "1,2,2"),
    ("5", "5 \\text{ or } 6"),
    ("5", "5, 6"),
    ("5", "\\{5,6\\}"),
    ("1 \\pm \\sqrt{2}", "1 + \\sqrt{2}"),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{pmatrix} 1 & 3 \\\\ 2 & 4 \\end{pmatrix}"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 & 2 \\end{pmatrix}"),
    ("0.5\\%", "50\\%"),
    ("50", "0.5"),
    ("75\\%", "75^\\circ"),
    ("20\\text{ days}", "20\\%"),
    ("66_8", "66^\\circ"),
    ("5 cm", "5 m"),
    ("5\\text{ cm}^2", "5 cubic centimeters"),
    ("5\\text{ cm}", "-5\\text{ cm}"),
    ("80\\text{ cents}", "80 dollars"),
    ("\\text{odd}", "\\text{even}"),
    ("\\text{gray}", "gary"),
    ("\\text{(B)}", "C"),
    ("2516_8", "2516_9"),
    ("10_2", "2"),
    ("6:30", "6:3"),
    ("3:2", "2:3"),
    ("7", ""),
    ("7", "\\frac{7}{"),
    ("7", "7)"),
    ("7", "7 +"),
]


@pytest.mark.parametrize(("gold", "found"), DIFFERENT)
def test_another_answer_is_wrong_and_says_so(gold: str, found: str) -> None:
    assert verdict(gold, found) == ("wrong" if found else "no_answer")


@given(
    st.fractions(min_value=-1000, max_value=1000, max_denominator=50),
    st.fractions(min_value=-1000, max_value=1000, max_denominator=50),
)
def test_two_fractions_are_equal_exactly_when_they_are(a: Fraction, b: Fraction) -> None:
    written = f"\\frac{{{b.numerator * 3}}}{{{b.denominator * 3}}}"
    assert (verdict(str(a), written) == "right") is (a == b)
    assert verdict(f"{b}", written) == "right"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(-9, 9), min_size=3, max_size=3), st.lists(st.integers(-9, 9), min_size=3, max_size=3)
)
def test_two_polynomials_are_equal_exactly_when_their_coefficients_are(a: list[int], b: list[int]) -> None:
    gold = f"({a[0]})x^2+({a[1]})x+({a[2]})"
    horner = f"x\\left(({b[0]})x+({b[1]})\\right)+({b[2]})"
    assert (verdict(gold, horner) == "right") is (a == b)
    assert verdict(f"({b[0]})x^2+({b[1]})x+({b[2]})", horner) == "right"


@pytest.mark.parametrize(
    ("gold", "found", "expected"),
    [
        ("\\sum_{k=1}^n k", "\\frac{n(n+1)}{2}", "right"),
        ("\\sum_{k=1}^n k", "\\frac{n(n-1)}{2}", "wrong"),
        ("\\int_0^1 x \\, dx", "\\frac{1}{2}", "right"),
    ],
)
def test_what_the_own_grammar_does_not_read_is_asked_of_math_verify(
    gold: str, found: str, expected: str
) -> None:
    assert verdict(gold, found) == expected


QUESTION = Example(id="math/1", prompt="Simplify $\\frac{84}{7} + x - x$ or find $a = 3$.", answer="12")


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("\\boxed{\\frac{84}{7} + x - x}", "restated"),
        ("\\boxed{84/7+x-x}", "restated"),
        ("\\boxed{x+84/7-x+0}", "restated"),
        ("\\boxed{1\\cdot(-x+x+84/7)}", "restated"),
        ("\\boxed{12}", ""),
        ("\\boxed{\\frac{24}{2}}", ""),
    ],
)
def test_a_formula_of_the_question_is_no_answer_to_it(text: str, detail: str) -> None:
    assert MathExpression().score(text, "12", QUESTION).detail == detail


def test_where_the_question_has_the_value_a_number_has_to_be_found_and_no_other_calculation() -> None:
    question = Example(id="q", prompt="What is the value of $3+4$?", answer="7")
    for text, detail in (
        ("3+4", "restated"),
        ("5+2", "restated"),
        ("\\frac{14}{2}", ""),
        ("7.0", ""),
        ("7", ""),
    ):
        assert MathExpression().score(f"\\boxed{{{text}}}", "7", question).detail == detail
    elsewhere = Example(id="q", prompt="How many of $12$ are left of $5$?", answer="7")
    assert MathExpression().score("\\boxed{12-5}", "7", elsewhere).value == 1.0


@pytest.mark.parametrize(
    ("prompt", "gold", "found", "detail"),
    [
        ("Factor $x^2-1$.", "(x-1)(x+1)", "x^2-1+0", "restated"),
        ("Factor $x^2-1$.", "(x-1)(x+1)", "-1+x^2", "restated"),
        ("Factor $x^2-1$.", "(x-1)(x+1)", "(x+1)(x-1)", ""),
        ("Which is larger, $\\frac{1}{2}$ or $\\frac{1}{3}$?", "0.5", "\\frac{1}{2}", ""),
        ("Is it $x=-\\frac12$ or $x=1$?", "-0.5", "-\\frac12", ""),
        ("Write $0.5$ as a fraction.", "\\frac{1}{2}", "0.5", "restated"),
        ("Write $0.5$ as a fraction.", "\\frac{1}{2}", "\\frac{1}{2}", ""),
    ],
)
def test_order_zeros_and_ones_make_no_other_formula(prompt: str, gold: str, found: str, detail: str) -> None:
    question = Example(id="q", prompt=prompt, answer=gold)
    assert PATIENT.score(f"\\boxed{{{found}}}", gold, question).detail == detail


CANCELLING = [
    "7+(\\sqrt{7}\\cdot 10^{53})^2-7\\cdot 10^{106}",
    "\\pi\\cdot 10^{106}/3\\cdot3-\\pi\\cdot 10^{106}",
    "\\sqrt{2}\\cdot 10^{60}-(\\sqrt{2}\\cdot 10^{60}-1)",
    "\\sum_{k=1}^{1}((\\sqrt{7}\\cdot 10^{53})^2-7\\cdot 10^{106})",
    "\\lim_{t\\to 0}((\\sqrt{7}\\cdot 10^{153})^2-7\\cdot 10^{306})",
]


@pytest.mark.parametrize("found", CANCELLING)
@pytest.mark.parametrize(
    "gold", ["5", "\\frac37", "\\sqrt2", "-1", "x^2+1", "2\\pi", "\\sum_{k=1}^n k", "10^{-20}"]
)
def test_a_formula_whose_parts_cancel_equals_no_other_value(gold: str, found: str) -> None:
    assert verdict(gold, found) in ("wrong", "undecided")


@pytest.mark.parametrize(
    ("gold", "found"),
    [("0", "\\sqrt{2}^2-2"), ("\\sqrt2^2-2", "0"), ("3", "\\sqrt{2}\\cdot 10^{9}-(\\sqrt{2}\\cdot 10^{9}-3)"),
     ("\\sqrt{5}", "\\sqrt{5}\\cdot 10^{20}-(10^{20}-1)\\sqrt{5}")],
)  # fmt: skip
def test_a_value_that_is_left_when_parts_cancel_is_found(gold: str, found: str) -> None:
    assert verdict(gold, found) == "right"


@pytest.mark.parametrize(
    ("gold", "found", "expected"),
    [
        ("5", "5 \\text{ or 6}", "wrong"),
        ("5", "5 \\text{ or maybe 6 or 7}", "wrong"),
        ("5", "5 \\text{ apples and 6 pears}", "wrong"),
        ("5", "5 \\text{ apples}", "right"),
        ("12\\text{ m}^2", "12\\text{ m}", "wrong"),
        ("12\\text{ m}^2", "12\\text{ square meters}", "right"),
        ("12\\text{ m}^2", "12", "right"),
        ("1000000", "1 000 000", "right"),
        ("1024", "1.024e3", "right"),
        ("-2", "\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}", "wrong"),
        ("\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "wrong"),
        ("x", "x+\\lfloor x^2/100\\rfloor", "wrong"),
        ("e^{x^2}+x^{40}", "e^{x^2}+(x^{20})^2", "right"),
        ("\\sqrt{x^2}", "|x|", "right"),
    ],
)
def test_units_hedges_and_ways_of_writing_numbers(gold: str, found: str, expected: str) -> None:
    assert verdict(gold, found) == expected


def test_a_number_that_stands_in_the_question_may_be_its_answer() -> None:
    assert MathExpression().score("\\boxed{a = 3}", "3", QUESTION).value == 1.0


def test_the_gold_answer_as_it_is_written_may_stand_in_the_question() -> None:
    question = Example(id="q", prompt="Which is a factor of $x^2-1$: $x+1$ or $x+2$?", answer="x+1")
    assert MathExpression().score("\\boxed{x+1}", "x+1", question).value == 1.0


def test_tagged_extraction_wants_a_mark() -> None:
    tagged = MathExpression(extract="tagged")
    assert tagged.score("the answer is 7", "7").detail == "no_answer"
    assert tagged.score("\\boxed{7}", "7").value == 1.0


def test_the_values_of_right_and_wrong_are_settings() -> None:
    verifier = MathExpression(right=2.0, wrong=-1.0)
    texts = ("\\boxed{4}", "\\boxed{5}", "", "\\boxed{9^9^9^9}")
    assert [verifier.score(text, "4").value for text in texts] == [2.0, -1.0, -1.0, -1.0]


def test_the_gold_answer_may_be_a_whole_solution() -> None:
    assert MathExpression().score("\\boxed{0.5}", "It is $\\boxed{\\frac{1}{2}}$.").value == 1.0


@pytest.mark.parametrize("answer", [".", "$$", "9" * 257, "x" * 5000])
def test_a_gold_answer_that_cannot_be_read_is_named(answer: str) -> None:
    with pytest.raises(DataError, match="expected the answer of math/9 that is a formula"):
        MathExpression().score("\\boxed{1}", answer, Example(id="math/9", prompt="p", answer=answer))


def test_without_math_verify_the_package_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math_expression, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="math_expression needs the package math-verify: pip install"):
        MathExpression().score("\\boxed{1}", "1")


def test_plain_numbers_need_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "shared", lambda: pytest.fail("a worker was asked"))
    assert verdict("(1,\\frac{1}{2})", "(1, 0.5)") == "right"
    assert verdict("1,234", "1233") == "wrong"


def test_any_thread_may_score() -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(verdict("2\\sqrt{3}", "\\sqrt{12}"))) for _ in "1234"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["right"] * 4


def test_a_worker_scores_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "is_worker", lambda: True)
    monkeypatch.setattr(pool, "shared", lambda: pytest.fail("another worker was asked"))
    assert verdict("2\\sqrt{3}", "\\sqrt{12}") == "right"


def test_a_lost_worker_is_a_failure_of_ours_and_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def call(self, *args: object, **limits: object) -> None:
            raise pool.WorkerLost("gone")

    monkeypatch.setattr(pool, "shared", Gone)
    gold = Example(id="e", prompt="", answer="2\\sqrt{3}")
    assert score_text(MathExpression(name="math_expression"), gold, "\\boxed{\\sqrt{12}}").status == "error"


def test_a_comparison_that_is_late_is_undecided() -> None:
    verifier = MathExpression(timeout_s=0.2)
    assert verifier.score("\\boxed{\\sum_{k=1}^{10^9} \\frac{1}{k}}", "7").detail == "undecided"


UNDECIDED = [
    "9^9^9^9",
    "2^{2^{2^{49}}}",
    "\\binom{10^6}{5*10^5}",
    "100000000!",
    "9" * 10**6,
    "9" * 257,
    "+".join(["9" * 250] * 12),
    "{" * 10_000 + "1" + "}" * 10_000,
    "(" * 100 + "1" + ")" * 100,
    "\\sin(10^{1000}\\pi)",
    "10^{-10^{10}}",
    "\\exp(\\exp(\\exp(\\exp(5))))",
    "x^" * 500 + "2",
]


@pytest.mark.parametrize("found", UNDECIDED, ids=lambda text: text[:12])
def test_what_is_beyond_the_limits_is_undecided_at_once(found: str) -> None:
    start = time.perf_counter()
    assert verdict("7", found) == "undecided"
    assert time.perf_counter() - start < 2.0


HARMLESS = [
    "\\boxed{" * 10**5,
    "\\boxed{1}" * 400 + "\\boxed{8}",
    "$" * 10**5,
    "the answer is " * 70_000,
    "x" * 10**6,
    "x" * (10**6 + 1),
    "\\boxed{" + "-" * 4000 + "1}",
    "\\boxed{1" + " " * 4000 + "2}",
    "\\boxed{" + ",".join(map(str, range(900))) + "}",
    "\\boxed{\\frac{1}{0}}",
    "\\boxed{\\infty - \\infty}",
    "\\boxed{\ud800}",
    "\\boxed{\x00}",
]


@pytest.mark.parametrize("text", HARMLESS, ids=lambda text: ascii(text[:12]))
def test_no_text_raises_hangs_or_wins(text: str) -> None:
    start = time.perf_counter()
    score = MathExpression().score(text, "7")
    assert (score.value, score.status) == (0.0, "ok")
    assert time.perf_counter() - start < 2.0


@given(st.text(alphabet="0123456789+-*/^_(){}[]|\\,.;:=<>%$ abxyfrctsqdol", max_size=60))
@settings(deadline=None)
def test_no_answer_raises(found: str) -> None:
    assert MathExpression().score(f"<answer>{found}</answer>", "12345678901").status == "ok"


PAYLOADS = [
    "__import__('os').system('touch MARKER')",
    "open('MARKER','w').write('x')",
    "(lambda: open('MARKER','w'))()",
    "().__class__.__bases__[0].__subclasses__()",
    "Symbol('x', open('MARKER','w'))",
    "\\text{__import__('os').system('touch MARKER')}",
    "\\operatorname{open}('MARKER','w')",
    "\\sum_{k=1}^{3} open('MARKER','w')",
    "\\lim_{x \\to 0} __import__('os').system('touch MARKER')",
    "\\immediate\\write18{touch MARKER}",
    "exec(\"open('MARKER','w')\")",
    "{{open('MARKER','w')}}",
]


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("gold", ["x^2", "\\int_0^1 x dx"])
def test_no_code_of_an_answer_runs(payload: str, gold: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    found = payload.replace("MARKER", str(marker))
    for text in (f"\\boxed{{{found}}}", f"<answer>{found}</answer>", f"the answer is {found}", f"${found}$"):
        score = MathExpression().score(text, gold)
        assert (score.value, score.status) == (0.0, "ok")
    assert not marker.exists()
