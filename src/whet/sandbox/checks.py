"""A data set's own tests against a program, in two sandboxes: the program never sees a test, the tests see only data.

The tests run in a child of their own and call the program's functions through this process, which hands over built-in
types and nothing else. So a program can neither read what is expected nor bend what compares.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from typing import Any

from whet.sandbox._names import defined_names, exceptions, free_names, imported, owners, uncalled_tests
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
    def proxy(*args, **keywords):
        value = __whet_ask__("call", name, keywords, *args)
        for n, arg in enumerate(args):
            if value is None and type(arg) in (list, dict, set, bytearray):  # it may be changed in place
                now = __whet_ask__("argument", n)
                if type(now) is type(arg):
                    arg.clear()
                    (arg.extend if type(arg) in (list, bytearray) else arg.update)(now)
        return value

    return proxy


def __whet_named__(name):
    """What the program calls so: a function, or a value."""
    value = __whet_ask__("named", name)
    return __whet_proxy__(name) if isinstance(value, __whet_handle__) else value


__name__ = "checker"
'''


class FaultyTests(Exception):
    """No program can pass these tests: what they do beyond using a program failed."""


def check(
    program: str,
    tests: str,
    setup: str = "",
    names: tuple[str, ...] = (),
    limits: Limits = Limits(),  # noqa: B008
) -> SandboxResult:
    """Whether a program passes tests: ok when they ran to their end, else what went wrong, in `detail`.

    tests: Python that uses the program's names, and raises when something is wrong; functions `test_...` that it
    defines are called. setup: Python of the data set that runs before them. names: those that are the program's
    whatever `setup` and Python call so. Names that nobody defines are modules of the standard library, or else the
    program's. Arguments are copies, and what a call changed in them is copied back where it returned None.
    Raises `FaultyTests`.
    """
    try:
        code = _written(program, tests, setup, names)
    except SyntaxError as error:
        raise FaultyTests(f"SyntaxError: {error.msg}, line {error.lineno} of setup and tests") from None
    with Session(program, limits, "program") as candidate:
        if not candidate.started.ok:
            return candidate.started
        answering = _Answering(candidate)
        with Session(code, limits, "checker", answering=answering) as checker:
            outcome = checker.started
    if answering.ended is not None:
        return answering.ended
    if outcome.kind not in answering.raised and (fault := _fault(outcome, f"{setup}\n{tests}")):
        raise FaultyTests(fault)
    if outcome.ok and not answering.count:
        raise FaultyTests("they never call the program")
    if outcome.kind == "AssertionError":
        return dataclasses.replace(outcome, detail="a test failed")
    said = re.sub(
        r", line \d+ of the program$", "", outcome.detail
    )  # a line of what was written around the tests
    return dataclasses.replace(outcome, detail=f"in the tests: {said}" if said else "")


def _fault(outcome: SandboxResult, whole: str) -> str:
    """What the tests did wrong by themselves, where it cannot be the program's doing."""
    if outcome.kind == "NotHandedOver":
        what = outcome.detail.partition(": ")[2].partition(", line ")[0]
        return f"they hand the program {what}; only plain data can be handed over"
    missing = re.match(r"ModuleNotFoundError: No module named '(\w+)", outcome.detail)
    if missing and missing[1] in imported(whole):
        return (
            f"they import {missing[1]}, which is not there (the setting packages names folders of packages)"
        )
    return ""


def _written(program: str, tests: str, setup: str, names: tuple[str, ...]) -> str:
    """What the checker runs."""
    whole = f"{setup}\n{tests}"
    unknown = sorted(free_names(whole) - set(names))
    modules = [n for n in unknown if n in sys.stdlib_module_names and n in owners(whole)]
    caught = exceptions(whole)
    try:
        functions = defined_names(program)
    except SyntaxError:
        functions = set()  # it is told so when it starts
    proxy, named = "{0} = __whet_proxy__({0!r})", "{0} = __whet_named__({0!r})"
    return "\n".join(
        [
            _PRELUDE,
            *(f"import {name}" for name in modules),
            *(
                f"class {name}(Exception): pass"
                if name in caught
                else (proxy if name in functions else named).format(name)
                for name in unknown
                if name not in modules
            ),
            *(proxy.format(name) for name in names if name not in defined_names(setup)),
            setup,
            *(proxy.format(name) for name in names),
            tests,
            *(f"{name}()" for name in uncalled_tests(tests)),
        ]
    )


class _Answering:
    """Puts the questions of the tests to the program."""

    def __init__(self, candidate: Session) -> None:
        self._candidate = candidate
        self.ended: SandboxResult | None = None
        """How the program's process ended, when it did."""
        self.raised: set[str] = set()
        """The kinds of what the program raised."""
        self.count = 0
        """Questions put."""

    def __call__(self, question: str, args: list[str]) -> dict[str, Any]:
        self.count += 1
        result = self._candidate._relay(**_request(question, args))
        if result.status in ("timeout", "died", "memory"):
            self.ended = self.ended or result
        if not result.ok:
            self.raised.add(result.kind)
            return {"raised": result.detail, "kind": result.kind, "printed": result.stdout}
        return {"value": result.value, "printed": result.stdout}


def _request(question: str, args: list[str]) -> dict[str, Any]:
    """What the program's process is asked."""
    first, *rest = args
    if question == "call":
        keywords, *rest = rest
        return {"do": "call", "name": json.loads(first), "keywords": keywords, "args": rest, "keep": True}
    if question == "operate":
        name, *rest = rest
        number = json.loads(first)["kept"]
        return {"do": "operate", "object": number, "name": json.loads(name), "args": rest}
    return {"do": question, "what": json.loads(first)}
