"""Runs the program in a completion against the tests of its example, in the sandbox."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from whet.errors import DataError
from whet.interfaces import Verifier
from whet.sandbox import Limits, SandboxResult, run_python
from whet.sandbox.checks import FaultyTests, check
from whet.text.code import first_python_block
from whet.types import Example, Score


class CodeTests(Verifier):
    """Full value when the first fenced Python block, a whole program, passes every test.

    The example's columns say what is tested. `tests`: Python, or a list of it, that calls the program's functions and
    raises when something is wrong (`assert f(3) == 9`); `setup`: Python that runs before; `names`: those that are the
    program's although `setup` has them too. Or `cases`: a list of `{input, output}`, what the program reads and what it
    must print, blanks at the ends of lines aside. The program never sees a test or what is expected.
    """

    references_win: ClassVar[bool] = True
    runs_apart: ClassVar[bool] = True

    right: float = 1.0
    wrong: float = 0.0
    timeout_s: float = Field(default=5.0, gt=0.0)
    """For all tests together, or for one case."""
    memory_mb: int = Field(default=512, ge=64)
    packages: tuple[str, ...] = ()
    """Folders with packages that programs may import; the standard library is always there."""

    @property
    def waits(self) -> bool:
        """Always: the program runs in another process."""
        return True

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The value `right` or `wrong`, with a detail such as `no_code`, `wrong`, `raised`, `timeout` or `forbidden`.

        Raises `DataError` when the example has no tests, `SandboxError` when programs cannot be run here.
        """
        whose, columns = ("it", {}) if example is None else (example.id, example.columns)
        if wrong := _malformed(columns):
            raise DataError(f"code_tests needs the columns tests or cases, and {whose} has {wrong}")
        program = first_python_block(text)
        if program is None:
            return Score(value=self.wrong, detail="no_code")
        try:
            result = self._result(program, columns)
        except FaultyTests as error:
            raise DataError(f"no program passes the tests of {whose}: {error}") from None
        return Score(value=self.right if result.ok else self.wrong, detail=reason(result))

    def check(self, example: Example) -> None:
        """Raises `DataError` for columns that are no tests, and for tests that do not parse."""
        if wrong := _malformed(example.columns):
            raise DataError(f"code_tests needs the columns tests or cases, and {example.id} has {wrong}")
        try:
            ast.parse(f"{example.columns.get('setup', '')}\n{_tests(example.columns)}")
        except SyntaxError as error:
            raise DataError(
                f"the tests of {example.id} do not parse: {error.msg}, line {error.lineno}"
            ) from None

    @property
    def limits(self) -> Limits:
        """Of the program, and of the tests."""
        cpu_s = int(self.timeout_s) + 1
        return Limits(
            timeout_s=self.timeout_s,
            total_s=self.timeout_s,
            cpu_s=cpu_s,
            memory_mb=self.memory_mb,
            packages=self.packages,
        )

    def _result(self, program: str, columns: Mapping[str, Any]) -> SandboxResult:
        if not columns.get("tests"):
            return self._printed(program, columns["cases"])
        names = tuple(columns.get("names", ()))
        return check(program, _tests(columns), columns.get("setup", ""), names, self.limits)

    def _printed(self, program: str, cases: Sequence[Mapping[str, str]]) -> SandboxResult:
        for case in cases:
            room_kb = 64 + len(case["output"].encode()) // 1024  # what is cut off could not be told apart
            result = run_python(program, case["input"], dataclasses.replace(self.limits, output_kb=room_kb))
            if not result.ok:
                return result
            if _lines(result.stdout) != _lines(case["output"]):
                return SandboxResult(status="raised", kind="AssertionError", detail="a test failed")
        return SandboxResult(status="ok")


def _tests(columns: Mapping[str, Any]) -> str:
    tests = columns.get("tests") or ""
    return tests if isinstance(tests, str) else "\n".join(tests)


def _malformed(columns: Mapping[str, Any]) -> str:
    """What an example has in place of tests; empty when all is well."""
    tests, cases = columns.get("tests"), columns.get("cases")
    if tests:
        is_text = isinstance(tests, str) or (
            isinstance(tests, list) and all(isinstance(t, str) for t in tests)
        )
        return "" if is_text else f"tests = {tests!r:.80}; expected Python, or a list of it"
    if not cases:
        return "neither"
    for case in cases if isinstance(cases, list) else [cases]:
        if not (isinstance(case, Mapping) and all(isinstance(case.get(k), str) for k in ("input", "output"))):
            return f"a case {case!r:.80}; expected {{input: text, output: text}}"
    return "" if isinstance(cases, list) else f"cases = {cases!r:.80}; expected a list of them"


def reason(result: SandboxResult) -> str:
    """One word for what came of a program; empty when all went well."""
    if result.status != "raised":
        return {"ok": "", "memory": "out_of_memory"}.get(result.status, result.status)
    kinds = {"AssertionError": "wrong", "SyntaxError": "syntax_error", "PermissionError": "forbidden"}
    return kinds.get(result.kind, "raised")


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]
