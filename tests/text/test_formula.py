"""Formulas: how they are read, and their exact values against Python's fractions."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.text.formula import TooBig, Unreadable, read, symbols
from whet.text.rational import exact


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1+2*3", "7"),
        ("2-3-4", "-5"),
        ("2/3/4", "1/6"),
        ("-2^2", "-4"),
        ("(-2)^2", "4"),
        ("2^3^2", "512"),
        ("2^{-3}", "1/8"),
        ("2^-3", "1/8"),
        ("--5", "5"),
        ("\\frac12", "1/2"),
        ("\\frac 3 4", "3/4"),
        ("\\frac{1}{2}\\frac{1}{3}", "1/6"),
        ("3\\frac{1}{2}", "7/2"),
        ("-3\\frac{1}{2}", "-7/2"),
        ("(3)\\frac{1}{2}", "3/2"),
        ("2(3)(4)", "24"),
        ("1.25", "5/4"),
        (".5", "1/2"),
        ("0.\\overline{09}", "1/11"),
        ("5!", "120"),
        ("3!^2", "36"),
        ("\\binom{6}{3}", "20"),
        ("|2-5|", "3"),
        ("\\lfloor\\frac{-7}{2}\\rfloor", "-4"),
        ("\\lceil\\frac{-7}{2}\\rceil", "-3"),
        ("1^{1000000}", "1"),
        ("(-1)^{1000001}", "-1"),
        ("1/0", None),
        ("0^{-1}", None),
        ("(-1)!", None),
        ("x", None),
        ("\\sqrt{4}", None),
    ],
)
def test_the_exact_value_of_plain_arithmetic_is_known(text: str, value: str | None) -> None:
    expected = None if value is None else Fraction(value)
    assert exact(read(text)) == expected


@given(st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 99)), max_size=8), st.integers(0, 99))
def test_sums_and_products_are_those_of_python(terms: list[tuple[str, int]], first: int) -> None:
    text = str(first) + "".join(f"{sign}{number}" for sign, number in terms)
    assert exact(read(text)) == eval(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "(", ")", "(1", "1)", "1 2", "1 000", "1,2", "2x3", "+", "1+", "*1", "^2", "2^", "\\frac{1}", "\\foo",
        "1.2.3", "x_", "10_2", "٣", "|1", "\\sqrt", "\\text{a}", "a'b\"c", "[1)", "{1", "5%",
        "\\sin", "1=1", "0.\\overline{x}",
    ],
)  # fmt: skip
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "9^9^9", "2^{5000}", "10^{-2000}", "300!", "\\binom{1000}{500}", "(2^{4000})^{4000}",
        "*".join(["2^{4000}"] * 5),
    ],
)  # fmt: skip
def test_a_value_beyond_the_limits_is_refused(text: str) -> None:
    with pytest.raises(TooBig):
        exact(read(text))


@pytest.mark.parametrize(
    "text", ["(" * 70 + "1" + ")" * 70, "x" * 600, "\\sqrt" * 100 + "2", "2^" * 100 + "2"]
)
def test_a_formula_of_many_parts_or_levels_is_refused(text: str) -> None:
    with pytest.raises(TooBig):
        read(text)


def test_the_variables_are_known_and_constants_are_none_of_them() -> None:
    assert symbols(read("x_1 + x_{12} + \\theta e^{i\\pi} + f'(y)")) == {"x_1", "x_12", "\\theta", "f'", "y"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\\sin 2x \\cos y", "(\\sin(2x))(\\cos(y))"),
        ("\\sin^2 x", "(\\sin x)^2"),
        ("2x^2y", "2*x^{2}*y"),
        ("\\frac ab", "a/b"),
        ("\\sqrt13", "\\sqrt{13}"),
    ],
)
def test_two_ways_of_writing_are_read_alike(one: str, other: str) -> None:
    assert read(one) == read(other)
