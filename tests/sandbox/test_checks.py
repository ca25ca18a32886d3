"""Tests of a data set, run beside the program and not with it."""

from __future__ import annotations

import pytest

from whet.sandbox import Limits
from whet.sandbox._names import defined_names, exceptions, free_names, uncalled_tests
from whet.sandbox.checks import FaultyTests, check

QUICK = Limits(timeout_s=0.4)


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(x): return x + 1", "assert f(1) == 2"),
        ("def f(x): return x / 3", "assert abs(f(1) - 0.333) < 1e-3"),
        ("def f(x): return (i for i in range(x))", "assert list(f(3)) == [0, 1, 2]"),
        ("def f(x): return map(str, x)", "assert [y for y in f([1, 2])] == ['1', '2']"),
        ("class P:\n    def __init__(self, a): self.a = a\ndef f(ps): return max(p.a for p in ps)",
         "assert f([P(1), P(5)]) == 5"),
        ("class N:\n    def __init__(self, v): self.v, self.next = v, None\ndef f(n): return n.next.v",
         "n = N(1)\nn.next = N(7)\nassert f(n) == 7"),
        ("def f(x):\n    if x < 0: raise ValueError('negative')",
         "try:\n    f(-1)\n    assert False\nexcept ValueError as error:\n    assert 'negative' in str(error)"),
        ("def f(x, kind): return [y for y in x if type(y) is kind]", "assert f([1, 'a'], int) == [1]"),
        ("def f(x): return x", "assert f(sys.maxsize) == sys.maxsize"),
    ],
)  # fmt: skip
def test_a_right_program_passes(program, tests):
    assert check(program, tests, names=tuple(defined_names(program))).ok


@pytest.mark.parametrize(
    ("program", "detail"),
    [
        ("def f(x): return x", "a test failed"),
        ("def f(x): return None", "a test failed"),
        (
            "def g(x): return 2",
            "in the tests: AttributeError: module 'program' has no attribute 'f'",
        ),
        ("def f(x): raise AssertionError('passed')", "in the tests: RuntimeError: AssertionError: passed"),
        ("def f(x):\n    while True: pass", "not done after 0.4 s"),
        ("def f(x): import os; os._exit(0)", "the process ended itself with exit code 0"),
        ("1 / 0", "ZeroDivisionError: division by zero, line 1 of the program"),
    ],
)
def test_a_wrong_program_fails_for_a_reason(program, detail):
    result = check(
        program, "assert f(1) == 2", names=("f",), limits=QUICK if "while" in program else Limits()
    )
    assert not result.ok
    assert result.detail.startswith(detail)


def test_helpers_of_the_data_set_are_not_the_programs():
    setup = "def helper(x):\n    return x * 10\ndef f(x):\n    '''Stub.'''"
    program = "def helper(x): return 20\ndef f(x): return 20"
    assert check(program, "assert f(2) == helper(2)", setup, ("f",)).ok
    assert not check(program, "assert f(3) == helper(3)", setup, ("f",)).ok


def test_a_program_that_needs_the_names_of_builtins_gets_its_own():
    assert check("def sum(a, b): return a - b", "assert sum(5, 3) == 2", names=("sum",)).ok


@pytest.mark.parametrize(
    ("program", "given", "after"),
    [
        ("def f(x): x.sort()", "[3, 1]", "[1, 3]"),
        ("def f(x): x['a'] += 1; x['b'] = []", "{'a': 1}", "{'a': 2, 'b': []}"),
        ("def f(x): x.discard(3)", "{3, 1}", "{1}"),
        ("def f(x): x[0][:] = [9]", "[[1, 2], 3]", "[[9], 3]"),
        ("def f(x): x.append(7)", "bytearray(b'a')", "bytearray(b'a\\x07')"),
    ],
)
def test_what_a_call_without_a_value_changed_in_its_arguments_is_seen(program, given, after):
    tests = f"given = {given}\nassert f(given) is None\nassert given == {after}"
    assert check(program, tests).ok
    assert not check("def f(x): pass", tests).ok


def test_a_program_that_returns_a_value_changes_nothing_that_it_is_compared_with():
    tests = "given = [3, 1]\nassert f(given) == sorted(given)"
    assert check("def f(x): return sorted(x)", tests).ok
    assert not check("def f(x): x.clear(); return []", tests).ok


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("LIMIT = 5\ndef f(x): return x * LIMIT", "assert LIMIT == 5\nassert f(2) == 10"),
        ("f = lambda x, by=1: x * by", "assert f(2, by=3) == 6"),
        ("try: from nowhere import f\nexcept ImportError:\n    def f(): return 2", "assert f() == 2"),
        ("class Bad(Exception): pass\ndef f(): raise Bad('neg')",
         "try:\n    f()\n    assert False\nexcept Bad as e:\n    assert str(e) == 'neg'"),
        ("class Bad(ValueError): pass\ndef f(): raise Bad('neg')",
         "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertRaises(Bad, f)\n"
         "T('test').debug()"),
        ("def f(): raise KeyError", "try:\n    f()\n    assert False\nexcept KeyError: pass"),
        ("def f(): print('hi')",
         "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as out: f()\n"
         "assert out.getvalue() == 'hi\\n'"),
        ("def f(): return 2", "def test_one(): assert f() == 2"),
    ],
)  # fmt: skip
def test_tests_see_values_exceptions_and_prints_of_the_program(program, tests):
    assert check(program, tests).ok
    assert not check("LIMIT = 4\ndef f(x=0, by=0): return x", tests).ok


@pytest.mark.parametrize(
    ("tests", "fault"),
    [
        ("assert f(lambda x: x) == 1", "hand the program a value of type function"),
        ("import pytest\nwith pytest.raises(ValueError): f(1)", "import pytest"),
        ("assert pow(2, 3) == 8", "never call the program"),
        ("assert f(1) =", "SyntaxError"),
    ],
)
def test_tests_that_no_program_can_pass_are_a_fault_of_their_own(tests, fault):
    with pytest.raises(FaultyTests, match=fault):
        check("def f(x): return 1", tests)


@pytest.mark.parametrize(
    "program",
    [
        "def f(x): import nowhere",
        "def f(x): raise ModuleNotFoundError(\"No module named 'math'\")",
        "class NotHandedOver(Exception): pass\ndef f(x): raise NotHandedOver('a value of type function')",
        "def f(x): return print",
        "def g(x): return 1",
        "def f(x): return '('",
    ],
)
def test_no_program_makes_its_own_failure_one_of_the_tests(program):
    tests = "import math\nassert eval(str(f(1))) == math.floor(1.5)"
    assert check(program, tests).status == "raised"


def test_the_program_never_sees_what_is_expected():
    program = """
import gc
def f(x):
    return 77777 if any('77777' in repr(o)[:2000] for o in gc.get_objects() if isinstance(o, (dict, list))) else 0
"""
    assert not check(program.replace("77777", "70000 + 7777", 1), "assert f(1) == 77777").ok


def test_exceptions_that_are_caught_and_tests_that_nobody_calls_are_found():
    code = "def test_a(): pass\ndef test_b(x): pass\ndef test_c(): pass\ndef other(): pass\ntest_c()\n"
    code += "try: other()\nexcept (A, m.B): pass\nself.assertRaisesRegex(C, 'x')"
    assert uncalled_tests(code) == ["test_a"]
    assert exceptions(code) == {"A", "C"}


def test_the_free_names_of_code_are_those_that_nobody_makes():
    code = (
        "import os.path as p\ndef g(a, *b): return a\nfor i in range(3): x = g(i)\nassert f(x, p, len) == h"
    )
    assert free_names(code) == {"f", "h"}


@pytest.mark.parametrize("depth", [90, 150, 480, 495])
def test_a_deep_value_is_the_programs_failure_and_none_of_ours(depth):
    code = f"def f():\n    x = []\n    for _ in range({depth}): x = [x]\n    return x"
    assert check(code, "assert f() == 1").detail


def test_a_program_has_its_time_once_however_it_spreads_it():
    slow = "import time\ntime.sleep(0.3)\ndef f(x):\n    time.sleep(0.3)\n    return x"
    result = check(slow, "assert f(1) == 1\nassert f(2) == 2", limits=Limits(timeout_s=0.4, total_s=0.4))
    assert result.status == "timeout"


def test_a_function_may_have_the_name_of_a_module_and_keywords():
    assert check("def select(x, by): return x * by", "assert select(2, by=3) == 6").ok


def test_the_end_of_a_loop_is_not_the_programs_to_declare():
    tests = "for r, e in zip(map(f, [1, 2]), [2, 4]):\n    assert r == e"
    assert not check("def f(x): raise StopIteration", tests).ok
