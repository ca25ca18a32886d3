"""Programs in completions, held against tests that they never see."""

from __future__ import annotations

import pytest

import attacks
from whet import Example, verifier
from whet.errors import DataError


def example(**columns):
    return Example(id="e", prompt="", columns=columns)


SQUARE = example(tests=["assert f(3) == 9", "assert f(-2) == 4"])
ECHO = example(cases=[{"input": "1 2\n", "output": "3\n"}, {"input": "5 5", "output": "10"}])


def score(program, about=SQUARE, **settings):
    return verifier("code_tests", timeout_s=0.5 if "while" in program else 60.0, **settings).score(
        f"So:\n```python\n{program}\n```", "", about
    )


def test_a_program_that_passes_every_test_has_the_full_value():
    assert score("def f(x): return x * x", right=2.0).value == 2.0


@pytest.mark.parametrize(
    ("program", "detail"),
    [
        ("def f(x): return 9", "wrong"),
        ("def f(x: return", "syntax_error"),
        ("def f(x): return undefined", "raised"),
        ("def f(x): open('/etc/passwd')", "forbidden"),
        ("def f(x):\n    while True: pass", "timeout"),
        ("def f(x): return bytearray(10**11)", "out_of_memory"),
        ("import os\nos._exit(0)", "died"),
        (attacks.ALWAYS_EQUAL + "def f(x): return Equal()", "wrong"),
    ],
)
def test_what_a_wrong_program_did_is_a_low_value_and_its_reason(program, detail):
    found = score(program, wrong=-0.5)
    assert (found.status, found.value, found.detail) == ("ok", -0.5, detail)


def test_a_completion_without_a_program_is_told_apart():
    assert verifier("code_tests").score("def f(x): return x * x", "", SQUARE).detail == "no_code"


def test_a_program_may_be_judged_by_what_it_prints():
    assert score("print(sum(map(int, input().split())))", ECHO).value == 1.0
    assert score("print(3)", ECHO).detail == "wrong"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"cases": [{"in": "1", "out": "2"}]}, "e has a case {'in': '1', 'out': '2'}; expected {input: text"),
        ({"cases": [{"input": "1", "output": 2}]}, "e has a case"),
        ({"cases": {"input": "1", "output": "2"}}, "expected a list of them"),
        ({"tests": 3}, "expected Python, or a list of it"),
        ({"tests": "assert f(1) ="}, "tests of e"),
        ({}, "e has neither"),
    ],
)
def test_columns_that_are_no_tests_are_refused_before_a_run_and_in_it(columns, said):
    with pytest.raises(DataError, match=said):
        verifier("code_tests").check(example(**columns))
    with pytest.raises(DataError, match=said):
        score("f = 1", example(**columns))


def test_tests_that_no_program_passes_are_no_zero_for_the_program():
    with pytest.raises(DataError, match="no program passes the tests of e: they hand the program a value of"):
        score("def f(g): return g(1)", example(tests="assert f(lambda x: x) == 1"))


def test_an_example_without_tests_is_an_error_that_names_it():
    with pytest.raises(DataError, match="code_tests needs the columns tests or cases, and e has neither"):
        score("x = 1", example())
