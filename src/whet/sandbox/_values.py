"""Plain data <-> JSON text. Only built-in types, by their exact class: no method of a program's class is ever called.

Both sides use it, the child with the standard library only. What the child sends is checked while it is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_PLAIN = (type(None), bool, str, float)
_MANY: dict[type, str] = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}
_TYPES = {t.__name__: t for t in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)}
_BIG = 2**53
MAX_HASHED = 10_000
"""Elements of sets and keys of dicts in one value: equal hashes can be made, and cost their square."""
MAX_FRACTION_DIGITS = 2500
MAX_DEPTH = 100
"""Of what is read: a value that can be read can be written again, whoever calls."""


class NotPlain(ValueError):
    """A value that is no plain data, or a text that stands for none."""


def dumps(value: Any, keep: Callable[[Any], int] | None = None) -> str:
    """The JSON text of a value; raises `NotPlain` and `RecursionError`.

    Subclasses of the containers and of int, float and str are sent as what they hold. keep: gives other objects a
    number to stand for them.
    """
    return json.dumps(_encoded(value, keep))


def loads(text: str | bytes, kept: Callable[[int], Any] | None = None) -> Any:
    """The value of a JSON text; raises `NotPlain` whatever the text is. kept: finds an object by its number."""
    try:
        read = json.loads(text)
        if _hashed(read) > MAX_HASHED:
            raise NotPlain("a value with too many elements in sets and dicts")
        return _decoded(read, kept)
    except NotPlain:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        RecursionError,
        OverflowError,
        ZeroDivisionError,
    ) as error:
        raise NotPlain(f"{type(error).__name__}: {error}"[:200]) from None


def _encoded(value: Any, keep: Callable[[Any], int] | None) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        return value if -_BIG < value < _BIG else {"int": hex(value)}
    if kind is list:
        return [_encoded(item, keep) for item in value]
    if kind in _MANY:
        return {_MANY[kind]: [_encoded(item, keep) for item in value]}
    if kind is dict:
        return {"dict": [[_encoded(k, keep), _encoded(v, keep)] for k, v in value.items()]}
    if kind in (bytes, bytearray):
        return {kind.__name__: value.hex()}
    if kind is type and value in _TYPES.values():
        return {"type": value.__name__}
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    if kind.__module__ == "fractions" and kind.__name__ == "Fraction":
        return {"Fraction": [hex(value.numerator), hex(value.denominator)]}
    if kind is range:
        return {"range": [_encoded(n, None) for n in (value.start, value.stop, value.step)]}
    return _of_a_subclass(value, keep)


def _of_a_subclass(value: Any, keep: Callable[[Any], int] | None) -> Any:
    """What an instance of a subclass holds, read by the methods of the built-in class."""
    kinds = type(value).__mro__
    if dict in kinds:
        return _encoded(dict(dict.items(value)), keep)
    for base, read in _READ.items():
        if base in kinds:
            return _encoded(read(value), keep)
    if keep is None:
        raise NotPlain(f"a value of type {type(value).__name__!r:.60}")
    return {"kept": keep(value)}


_READ: dict[type, Callable[[Any], Any]] = {
    list: lambda v: list(list.__iter__(v)),
    tuple: lambda v: tuple(tuple.__iter__(v)),
    set: lambda v: set(set.__iter__(v)),
    frozenset: lambda v: frozenset(frozenset.__iter__(v)),
    int: lambda v: int.__index__(v),
    float: lambda v: float.__float__(v),
    str: lambda v: str.__str__(v),
}


def _decoded(item: Any, kept: Callable[[int], Any] | None, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise NotPlain("a value nested too deeply")
    if isinstance(item, list):
        return [_decoded(inner, kept, depth + 1) for inner in item]
    if not isinstance(item, dict):
        return item
    if len(item) != 1:
        raise NotPlain("a malformed value")
    [(kind, held)] = item.items()
    if kind == "kept":
        if kept is None or type(held) is not int:
            raise NotPlain("a value that stands for an object")
        return kept(held)
    if kind == "dict":
        return {_decoded(k, kept, depth + 1): _decoded(v, kept, depth + 1) for k, v in held}
    if kind not in _MAKE:
        raise NotPlain(f"a value of kind {kind!r:.40}")
    return _MAKE[kind]([_decoded(n, kept, depth + 1) for n in held] if isinstance(held, list) else held)


_MAKE: dict[str, Callable[[Any], Any]] = {
    "int": lambda v: int(v, 16),
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda v: complex(*v),
    "Fraction": lambda v: _fraction(v[0], v[1]),
    "range": lambda v: range(*v),
    "type": lambda v: _TYPES[v],
}


def _hashed(item: Any, depth: int = 0) -> int:
    """How many elements and keys would be hashed."""
    if depth > MAX_DEPTH:
        raise NotPlain("a value nested too deeply")
    if isinstance(item, list):
        return sum(_hashed(inner, depth + 1) for inner in item if type(inner) in (list, dict))
    if not isinstance(item, dict):
        return 0
    own = sum(len(held) for kind, held in item.items() if kind in _HASHED and isinstance(held, list))
    return own + sum(_hashed(held, depth + 1) for held in item.values())


_HASHED = ("dict", "set", "frozenset")


def _fraction(numerator: str, denominator: str) -> Any:
    if max(len(numerator), len(denominator)) > MAX_FRACTION_DIGITS:
        raise NotPlain("a fraction of too many digits")
    from fractions import Fraction  # with decimal, a tenth of a child's memory

    return Fraction(int(numerator, 16), int(denominator, 16))
