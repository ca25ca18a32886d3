"""What a child of the fork server does: takes code and calls from its socket until it is killed.

It shares its interpreter with the program, so nothing that it says is believed beyond being plain data: what the
program should return is never here, and the value that it did return is compared outside. Standard library only.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import json
import random
import socket
import sys
import types
from collections.abc import Callable
from typing import Any

if __package__:
    from whet.sandbox import _frames, _values
else:
    import _frames  # type: ignore[import-not-found, no-redef]
    import _values  # type: ignore[import-not-found, no-redef]

_FILENAME = "<program>"


class NotHandedOver(Exception):
    """A test wants to give the program what is no plain data."""


def serve(channel: socket.socket, nonce: str, name: str) -> None:
    """Answers requests for ever. name: of the module that the program is, such as `__main__`."""
    channel.setblocking(True)
    module = types.ModuleType(name)
    sys.modules[name] = module
    kept: list[Any] = []
    arguments: list[Any] = []
    random.seed(0)

    def answer(**about: Any) -> None:
        _frames.send(channel, json.dumps({"nonce": nonce, **about}).encode())

    def ask(question: str, *args: Any) -> Any:
        """For a checker: puts a question to the process outside, which puts it to another program."""
        try:
            sent = [_values.dumps(arg, _number) for arg in args]
        except _values.NotPlain as error:
            raise NotHandedOver(str(error)) from None
        answer(ask=question, args=sent)
        reply = json.loads(_frames.receive(channel))
        if reply["printed"]:
            sys.stdout.write(reply["printed"])
        if "raised" in reply:
            raise _as_raised(module, reply["kind"], reply["raised"])
        return _values.loads(reply["value"], module.__dict__["__whet_handle__"])

    do = {
        "define": lambda request: _define(module, request),
        "call": lambda request: _call(module, kept, arguments, request),
        "operate": lambda request: _operate(kept, request),
        "named": lambda request: _values.dumps(getattr(module, request["what"]), _keeper(kept)),
        "argument": lambda request: _values.dumps(arguments[request["what"]], _keeper(kept)),
    }
    if name == "checker":
        module.__dict__["__whet_ask__"] = ask
    answer(ready=True)
    while True:
        request = json.loads(_frames.receive(channel))
        answer(number=request["number"], **_outcome(do[request["do"]], request))


_NOT_AS_THEY_ARE = (AssertionError, StopIteration, StopAsyncIteration)
"""What would mean something else where the tests run: a failed test, the end of a loop."""


def _as_raised(module: types.ModuleType, kind: str, detail: str) -> Exception:
    """What the program under test raised, of the same class, so that tests may expect it with its text.

    The class is a built-in one, or one that the tests catch.
    """
    found = getattr(builtins, kind, None) or module.__dict__.get(kind)
    if isinstance(found, type) and issubclass(found, Exception) and found not in _NOT_AS_THEY_ARE:
        text = detail.removeprefix(kind).removeprefix(": ")
        head, line, rest = text.rpartition(", line ")
        with contextlib.suppress(TypeError):  # a class that needs other arguments
            return found(head if line and rest.endswith(" of the program") else text)
    return RuntimeError(detail)


def _number(handle: Any) -> int:
    """Of an object that another program keeps."""
    number = getattr(handle, "__whet_number__", None)
    if type(number) is not int:
        raise _values.NotPlain(f"a value of type {type(handle).__name__}")
    return number


def _outcome(do: Callable[[Any], str], request: Any) -> dict[str, Any]:
    """Of one request: its value, or what was raised."""
    try:
        value = do(request)
        return {"status": "ok", "value": value}
    except MemoryError:
        return {"status": "memory", "detail": "MemoryError"}
    except _values.NotPlain as error:
        return {"status": "raised", "kind": "NotPlain", "detail": f"not plain data: {error}"}
    except SystemExit as error:
        code = repr(error.code) if type(error.code) in (int, str, type(None)) else type(error.code).__name__
        return {"status": "raised", "kind": "SystemExit", "detail": f"SystemExit: {code}"[:300]}
    except BaseException as error:  # noqa: BLE001 - whatever the program raises
        return {"status": "raised", "kind": _name_of(error), "detail": _described(error)}
    finally:
        _flush()


def _flush() -> None:
    """Hands over what the program has printed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # full, closed, or replaced by the program
            stream.flush()


def _name_of(error: BaseException) -> str:
    return type.__dict__["__name__"].__get__(type(error))[:60]  # type: ignore[no-any-return]


def _described(error: BaseException) -> str:
    """`ValueError: text, line 3 of the program`."""
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == _FILENAME:
            line = frame.tb_lineno
        frame = frame.tb_next
    if isinstance(error, SyntaxError):
        line = error.lineno
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return "OSError: it has printed, or written to a file, more than file_mb allows"
    try:
        text = f"{_name_of(error)}: {error}"[:300]
    except BaseException:  # noqa: BLE001 - its __str__ is the program's
        text = _name_of(error)
    return text + (f", line {line} of the program" if line else "")


def _define(module: types.ModuleType, request: dict[str, Any]) -> str:
    try:
        exec(compile(request["code"], _FILENAME, "exec", dont_inherit=True), module.__dict__)
    except Exception:
        if module.__name__ == "__main__":  # a program like any other says where it failed
            import traceback

            traceback.print_exc()
        raise
    return "null"


def _call(module: types.ModuleType, kept: list[Any], arguments: list[Any], request: dict[str, Any]) -> str:
    """Calls a function of the program; `arguments` are then what it was given, as it left them."""
    target: Any = module
    for part in request["name"].split("."):
        target = getattr(target, part)
    keywords = _values.loads(request["keywords"], kept.__getitem__) or {}
    arguments[:] = [_values.loads(arg, kept.__getitem__) for arg in request["args"]]
    value = target(*arguments, **keywords)
    return _values.dumps(value, _keeper(kept) if request["keep"] else None)


def _operate(kept: list[Any], request: dict[str, Any]) -> str:
    """An operation on an object that is kept here: reading or setting an attribute, a call, iteration."""
    target, args = kept[request["object"]], [_values.loads(a, kept.__getitem__) for a in request["args"]]
    value = _OPERATIONS[request["name"]](target, *args)
    return _values.dumps(value, _keeper(kept))


_MOST_ITEMS = 1_000_000


def _items(target: Any) -> list[Any]:
    found = []
    for item in target:
        found.append(item)
        if len(found) > _MOST_ITEMS:
            raise ValueError("too many items")
    return found


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "getattr": getattr,
    "setattr": setattr,
    "call": lambda target, *args: target(*args),
    "iter": _items,
    "len": len,
    "getitem": lambda target, key: target[key],
}


def _keeper(kept: list[Any]) -> Callable[[Any], int]:
    def keep(value: Any) -> int:
        kept.append(value)
        return len(kept) - 1

    return keep
