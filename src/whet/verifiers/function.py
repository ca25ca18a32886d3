"""A plain function as a verifier: `verifier: ./my_reward.py:score` or `verifier: my_package.rewards:score`."""

from __future__ import annotations

import inspect
from typing import Literal

from pydantic import model_validator

from whet import registry
from whet.interfaces import Verifier
from whet.types import Example, Score
from whet.verifiers._styles import style_of


class Function(Verifier):
    """Calls `f(text, answer)`; further parameters are filled by name: `example`, or a column of the example.

    The function returns a finite number or bool, a dict of named parts whose sum is the value, or a `Score`. Anything
    else is a failure of the function (status `invalid`) and never a low score; an exception is raised on. Functions
    written for TRL (`completions, **columns`) and verl (`solution_str, ground_truth`) are called their way.
    """

    isolation: Literal["none", "worker"] = "worker"
    """worker: in a process of its own, killed at `timeout_s`; what the function keeps in memory, each worker keeps for
    itself. none: in the run's own process."""

    @model_validator(mode="after")
    def _is_written_in_a_known_way(self) -> Function:
        function = registry.function(self.name)
        if inspect.iscoroutinefunction(function):
            raise ValueError(
                f"{self.name} is async, and a reward is called, not awaited: write a plain function around it that "
                "calls asyncio.run"
            )
        if style_of(function) is None:
            raise ValueError(
                f"expected {self.name} to take (text, answer) first, or (completions, **columns) as in TRL, or "
                "(data_source, solution_str, ground_truth) as in verl"
            )
        return self

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """What the function says; raises `DataError` when the example lacks a column that it asks for."""
        function = registry.function(self.name)
        style = style_of(function)
        assert style is not None
        return style(function, self.name, text, answer, example)
