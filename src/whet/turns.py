"""Tasks whose episodes have several turns: the base of them, and what their turns are worth."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

from pydantic import Field, SerializeAsAny, model_validator

from whet.interfaces import Episode, Task, Verifier
from whet.types import Example, ObserverRole, Score, Turn, TurnRules


class TurnTask(Task):
    """A task that is a factory of episodes: subclass it, with `load` and `start`.

    Its rewards come turn by turn, unless `default_verifier` names what judges the last answer.
    """

    max_turns: int = Field(default=8, ge=1)
    """Answers in an episode at most."""
    observation_role: ObserverRole = "user"
    """Whose message an observation is where prompts are conversations."""

    @model_validator(mode="after")
    def _judged_as_it_says(self) -> TurnTask:
        if self.verifier is not None and type(self).default_verifier is TurnTask.default_verifier:
            raise ValueError("expected no verifier: this task's rewards come from its turns; leave it out")
        return self

    @abstractmethod
    def start(self, example: Example, seed: int) -> Episode:
        """A new episode, a function of both; the rollouts of a group have one seed."""

    @property
    def has_turns(self) -> bool:
        """True."""
        return True

    def turn_rules(self, example: Example) -> TurnRules:
        """Those of the settings."""
        return TurnRules(max_turns=self.max_turns, role=self.observation_role)

    def default_verifier(self) -> Verifier:
        """The turns themselves; another one where a verifier judges the last answer."""
        return _ByTurns(name="turns", task=self)

    def score(self, example: Example, text: str) -> Score:
        """The score of an episode (seed 0) whose only answer is this text."""
        return score_of([self.start(example, 0).step(text)])


class _ByTurns(Verifier):
    task: SerializeAsAny[Task]

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        if example is None:
            raise ValueError("an episode is one of an example: give the example")
        return self.task.score(example, text)


def score_of(turns: Sequence[Turn], unfinished: str = "") -> Score:
    """The score of an episode of one turn or more: that of its last turn, or else the sum of the rewards.

    unfinished: the detail when the last turn is not done and names no reason of its own.
    """
    last = turns[-1]
    if last.score is not None:
        return last.score
    detail = last.detail or ("" if last.done else unfinished)
    return Score(value=math.fsum(turn.reward for turn in turns), detail=detail)
