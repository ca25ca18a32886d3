"""A data set's own tests against a program, in two sandboxes: the program never sees a test, the tests see only data.

The tests run in a child of their own and call the program's functions through this process, which hands over built-in
types and nothing else. So a program can neither read what is expected nor bend what compares.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import json
import sys
from typing import Any

from whet.sandbox.limits import Limits, SandboxResult
from whet.sandbox.sessions import Session

_PRELUDE = '''
class __whet_handle__:
    """An object that the program under test keeps; equal to nothing but itself."""

    def __init__(self, number):
        object.__setattr__(self, "__whet_number__", number)

    def __getattr__(self, name):
        return __whet_ask__("operate", self, "getattr", name)

    def __setattr__(self, name, value):
        __whet_ask__("operate", self, "setattr", name, value)

    def __call__(self, *args):
        return __whet_ask__("operate", self, "call", *args)

    def __iter__(self):
        return iter(__whet_ask__("operate", self, "iter"))

    def __len__(self):
        return __whet_ask__("operate", self, "len")

    def __getitem__(self, key):
        return __whet_ask__("operate", self, "getitem", key)


def __whet_proxy__(name):
    return lambda *args, **keywords: __whet_ask__("call", name, keywords, *args)


__name__ = "checker"
'''


def check(
    program: str,
    tests: str,
    setup: str = "",
    names: tuple[str, ...] = (),
    limits: Limits = Limits(),  # noqa: B008
) -> SandboxResult:
    """Whether a program passes tests: ok when they ran to their end, else what went wrong, in `detail`.

    tests: Python that uses the program's names, and raises when something is wrong. setup: Python of the data set that
    runs before them. names: those that are the program's whatever `setup` and Python call so. Names that nobody defines
    are modules of the standard library, or else the program's.
    """
    unknown = sorted(free_names(f"{setup}\n{tests}") - set(names))
    modules = [n for n in unknown if n in sys.stdlib_module_names and n in _owners(f"{setup}\n{tests}")]
    code = "\n".join(
        [
            _PRELUDE,
            *(f"import {name}" for name in modules),
            *(f"{name} = __whet_proxy__({name!r})" for name in unknown if name not in modules),
            *(f"{name} = __whet_proxy__({name!r})" for name in names if name not in defined_names(setup)),
            setup,
            *(f"{name} = __whet_proxy__({name!r})" for name in names),
            tests,
        ]
    )
    with Session(program, limits, "program") as candidate:
        if not candidate.started.ok:
            return candidate.started
        answering = _Answering(candidate)
        with Session(code, limits, "checker", answering=answering) as checker:
            outcome = checker.started
    if answering.ended is not None:
        return answering.ended
    if outcome.ok and not answering.count:
        return SandboxResult(status="raised", kind="NoQuestion", detail="the tests never call the program")
    if outcome.kind == "AssertionError":
        return dataclasses.replace(outcome, detail="a test failed")
    return dataclasses.replace(outcome, detail=f"in the tests: {outcome.detail}" if outcome.detail else "")


def defined_names(code: str) -> set[str]:
    """The functions and classes that a piece of Python defines at its top. Raises `SyntaxError`."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.parse(code).body if isinstance(node, kinds)}


def free_names(code: str) -> set[str]:
    """The names that a piece of Python reads and neither defines nor imports, builtins left out.

    Raises `SyntaxError`.
    """
    read: set[str] = set()
    made: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read.add(node.id)
        else:
            made.add(_made_by(node))
    return {name for name in read - made if not hasattr(builtins, name)}


def _owners(code: str) -> set[str]:
    """The names whose attributes are read: `math.pi` reads one of `math`, and `select(1)` none."""
    found = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)]
    return {value.id for value in found if isinstance(value, ast.Name)}


def _made_by(node: ast.AST) -> str:
    """The name that a piece of syntax gives to something, or an empty one."""
    if isinstance(node, ast.alias):
        return (node.asname or node.name).partition(".")[0]
    for field in ("id", "name", "arg"):  # names and definitions, handlers, parameters
        if isinstance(found := getattr(node, field, None), str):
            return found
    return ""


class _Answering:
    """Puts the questions of the tests to the program."""

    def __init__(self, candidate: Session) -> None:
        self._candidate = candidate
        self.ended: SandboxResult | None = None
        """How the program's process ended, when it did."""
        self.count = 0
        """Questions put."""

    def __call__(self, question: str, args: list[str]) -> dict[str, Any]:
        self.count += 1
        first, second, *rest = args
        if question == "call":
            result = self._candidate._relay(
                do="call", name=json.loads(first), keywords=second, args=rest, keep=True
            )
        else:
            number, name = json.loads(first)["kept"], json.loads(second)
            result = self._candidate._relay(do="operate", object=number, name=name, args=rest)
        if result.status in ("timeout", "died", "memory"):
            self.ended = self.ended or result
        if not result.ok:
            return {"raised": result.detail, "kind": result.kind}
        return {"value": result.value}
