"""Expressions are read as Python would compute them in fractions, and nothing else is."""

import ast
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.text.expressions import NotAnExpression, read_expression

NUMBERS = st.integers(0, 99).map(str)
EXPRESSIONS = st.recursive(
    NUMBERS,
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from(["+", "-", "*", "/", " + ", " / "]), parts).map("".join),
        parts.map("({})".format),
        parts.map("( {} )".format),
    ),
    max_leaves=12,
)


def in_python(text: str) -> Fraction:
    """The value by Python's own parser, its numbers made fractions."""
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.Constant):
                call = ast.Call(ast.Name("Fraction", ast.Load()), [value], [])
                setattr(node, name, call)
    return eval(compile(ast.fix_missing_locations(tree), "", "eval"), {"Fraction": Fraction})


@given(EXPRESSIONS)
def test_the_value_is_pythons_in_fractions(text: str) -> None:
    try:
        expected = in_python(text)
    except ZeroDivisionError:
        with pytest.raises(NotAnExpression, match="division by zero"):
            read_expression(text)
    else:
        assert read_expression(text).value == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "()",
        "2**3*4",
        "7//2+1",
        "1.5*2",
        "1,500",
        "-3+7",
        "3+-7",
        "+3",
        "3+",
        "(3",
        "3)",
        "(3)(4)",
        "3(4)",
        "3 4",
        "(3)4",
        "3^4",
        "3%2",
        "3=3",
        "1e3",
        "0x10",
        "1_000",
        "٣+٤",
        "３+４",
        "²",
        "3×4",
        "3/0",
        "3/(2-2)",
        "__import__('os')",
        "(" * 900,
        "9" * 19,
        "+".join("1" * 65),
        "1+" * 600 + "1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(NotAnExpression):
        read_expression(text)


def test_numbers_are_listed_as_they_are_written() -> None:
    assert read_expression(" (25 - 3)*7/ 007 ").numbers == (25, 3, 7, 7)


def test_no_text_takes_long_or_exhausts_the_stack() -> None:
    began = time.perf_counter()
    assert read_expression("(" * 490 + "1" + ")" * 490).value == 1
    assert read_expression("*".join(["9" * 18] * 50)).value == (10**18 - 1) ** 50
    for text in ("9**9**9", "(" * 10**6, "9" * 10**6, "1/" * 10**5):
        with pytest.raises(NotAnExpression):
            read_expression(text)
    assert time.perf_counter() - began < 0.5
