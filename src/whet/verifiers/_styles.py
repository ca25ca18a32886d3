"""The three ways in which a reward function may be written, told apart by the names of its parameters.

whet: `f(text, answer, **columns)`. TRL: `f(completions, prompts, **columns) -> list`. verl:
`f(data_source, solution_str, ground_truth, extra_info) -> float | dict`. Each gets one completion at a time.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

from whet.errors import DataError
from whet.types import Example, Score

Style = Callable[[Any, str, str, str, Example | None], Score]
"""function, its name, text, answer, example -> the score."""


def style_of(function: Any) -> Style | None:
    """How a function wants to be called; None when it is none of the three."""
    names = [p.name for p in _parameters(function)]
    if "completions" in names:
        return trl
    if {"solution_str", "ground_truth"} <= {*names}:
        return verl
    if {"text", "answer"} <= {*names} and names[:2] != ["text", "answer"]:
        return None  # by position each would get the other
    try:
        inspect.signature(function).bind_partial("text", "answer")
    except TypeError:
        return None
    return whet


def whet(function: Any, name: str, text: str, answer: str, example: Example | None) -> Score:
    """Takes text and answer by position, the rest by name; returns a number, a dict of parts or a `Score`."""
    parameters = _parameters(function)
    rest = parameters if parameters[0].kind is inspect.Parameter.VAR_POSITIONAL else parameters[2:]
    columns = {} if example is None else {**example.columns, "example": example}
    result = function(text, answer, **_asked_for(name, rest, columns))
    if isinstance(result, Score):
        return result
    if isinstance(result, Mapping) and result:
        parts = {str(key): _number(value) for key, value in result.items()}
        return _score(name, result, math.fsum(parts.values()), parts)
    return _score(name, result, _number(result), {})


def trl(function: Any, name: str, text: str, answer: str, example: Example | None) -> Score:
    """Takes lists by name and returns a list of numbers; a None in it means that the reward does not apply.

    Prompt and completion are lists of messages where the data holds conversations, as in TRL.
    """
    given: dict[str, Any] = _columns(answer, example)
    if example is not None and example.messages:
        given |= {"prompts": list(example.messages), "completions": [{"role": "assistant", "content": text}]}
    else:
        given |= {"prompts": example.prompt if example else "", "completions": text}
    result = function(
        **_asked_for(name, _parameters(function), {key: [value] for key, value in given.items()})
    )
    is_list = isinstance(result, Iterable) and not isinstance(result, str | Mapping)
    values = list(result) if is_list else []
    if len(values) != 1:
        return Score.failed("invalid", f"{name} returned {result!r:.200}, not a list of one number")
    if values[0] is None:
        return Score.skipped(f"{name} returned None")
    return _score(name, result, _number(values[0]), {})


def verl(function: Any, name: str, text: str, answer: str, example: Example | None) -> Score:
    """Returns a number, or a dict whose `score` is the value; the other numbers in it are logged as parts."""
    columns = example.columns if example else {}
    # These four and no other column, as in verl: one named `score` must not replace the default of a parameter.
    given = {
        "data_source": columns.get("data_source", ""),
        "solution_str": text,
        "ground_truth": answer,
        "extra_info": columns.get("extra_info", {}),
    }
    result = function(**_asked_for(name, _parameters(function), given))
    if not isinstance(result, Mapping):
        return _score(name, result, _number(result), {})
    parts = {str(k): number for k, v in result.items() if math.isfinite(number := _number(v))}
    return _score(name, result, parts.pop("score", math.nan), parts)


@functools.cache
def _parameters(function: Any) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(function).parameters.values())


def _columns(answer: str, example: Example | None) -> dict[str, Any]:
    """The columns, and the answer where no column has this name."""
    return {"answer": answer, **(example.columns if example else {}), "example": example}


def _asked_for(
    name: str, parameters: Iterable[inspect.Parameter], available: Mapping[str, Any]
) -> dict[str, Any]:
    """What the parameters ask for by name; `**columns` gets everything. Raises `DataError` for a missing column."""
    wanted = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for parameter in wanted:
        if parameter.name not in available and parameter.default is parameter.empty:
            close = difflib.get_close_matches(parameter.name, available, 1)
            hint = f". Did you mean {close[0]}?" if close else ""
            known = ", ".join(key for key in available if key != "example") or "none"
            raise DataError(f"{name} asks for the column {parameter.name!r}; there are: {known}{hint}")
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(available)
    return {p.name: available[p.name] for p in wanted if p.name in available}


def _score(name: str, result: object, value: float, parts: Mapping[str, float]) -> Score:
    """The value with its parts, or the failure of a function that gave something else than finite numbers."""
    if not all(map(math.isfinite, (value, *parts.values()))):
        return Score.failed("invalid", f"{name} returned {result!r:.200}, not a finite number")
    return Score(value=value, parts=parts)


def _number(value: object) -> float:
    """The value as a float, that of a tensor with one element included; NaN for what is none."""
    value = value.item() if hasattr(value, "item") else value
    try:
        return float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        return math.nan
