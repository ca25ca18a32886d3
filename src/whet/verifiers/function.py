"""A plain function as a verifier: `verifier: ./my_reward.py:score` or `verifier: my_package.rewards:score`."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from pydantic import model_validator

from whet import registry
from whet.errors import DataError
from whet.interfaces import Verifier
from whet.types import Example, Score


class Function(Verifier):
    """Calls `f(text, answer)`; further parameters are filled by name: `example`, or a column of the example.

    The function returns a finite number or bool, a dict of named parts whose sum is the value, or a `Score`. Anything
    else is a failure of the function (status `invalid`) and never a low score; an exception is raised on.
    """

    @model_validator(mode="after")
    def _takes_text_and_answer(self) -> Function:
        try:
            inspect.signature(registry.function(self.name)).bind_partial("text", "answer")
        except TypeError:
            raise ValueError(f"expected {self.name} to take (text, answer) first") from None
        return self

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """What the function says; raises `DataError` when the example lacks a column that it asks for."""
        function = registry.function(self.name)
        available = {} if example is None else {**example.columns, "example": example}
        extra = {}
        for name, has_default in _further_parameters(function):
            if name in available:
                extra[name] = available[name]
            elif not has_default:
                raise DataError(f"{self.name} asks for {name!r}; the example has: {', '.join(available)}")
        return _as_score(function(text, answer, **extra), self.name)


@functools.cache
def _further_parameters(function: Any) -> tuple[tuple[str, bool], ...]:
    """Name and whether there is a default, of every parameter after the two that text and answer fill."""
    parameters = list(inspect.signature(function).parameters.values())
    if parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        parameters = parameters[2:]
    fillable = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple((p.name, p.default is not p.empty) for p in parameters if p.kind in fillable)


def _as_score(result: object, name: str) -> Score:
    if isinstance(result, Score):
        return result
    if isinstance(result, Mapping) and result:
        parts = {str(key): _number(value) for key, value in result.items()}
    else:
        parts = {"": _number(result)}
    if not all(map(math.isfinite, parts.values())):
        return Score.failed("invalid", f"{name} returned {result!r:.200}, not a finite number")
    return Score(value=math.fsum(parts.values()), parts={k: v for k, v in parts.items() if k})


def _number(value: object) -> float:
    """The value as a float, NaN for what is none."""
    try:
        return float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        return math.nan
