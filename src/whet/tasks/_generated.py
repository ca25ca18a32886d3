"""Tasks whose problems are made by a rule."""

from __future__ import annotations

import hashlib
import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from pydantic import Field

from whet import seeding
from whet.errors import ConfigError
from whet.interfaces import Split, Task
from whet.text.questions import normalise_question, split_position
from whet.types import Example

TEST_FRAC = 0.2
"""Share of all problems that can only be test problems. One number for every task and size, so that a
question is on the same side whatever else is asked for, also in a mixture of tasks that share questions."""

Item = TypeVar("Item")

_DRAWS_PER_EXAMPLE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a rule makes: a question with its answer."""

    prompt: str
    answer: str
    demonstration: str | None
    tags: Mapping[str, str]
    identity: str = ""
    """Problems with one identity share a side of the split, as do 37+85 and 85+37; default: the question."""


class Draw:
    """Random choices of one problem, one after another, as a function of its key (see `seeding`)."""

    def __init__(self, key: int) -> None:
        self._key = key
        self._positions = itertools.count()

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high], both included."""
        return seeding.randint(self._key, low, high, next(self._positions))

    def choice(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return seeding.choice(self._key, items, next(self._positions))

    def text(self, alphabet: str, length: int) -> str:
        """Letters of the alphabet, each drawn uniformly."""
        return "".join(self.choice(alphabet) for _ in range(length))


class GeneratedTask(Task):
    """Problems drawn by a rule, the same ones in every run: no seed changes them.

    A hash of the problem decides its side, so train and test share no question.
    """

    num_train: int = Field(default=2000, ge=1)
    num_test: int = Field(default=500, ge=1)

    @abstractmethod
    def problem(self, draw: Draw) -> Problem:
        """One problem, a function of what is drawn and the settings."""

    def load(self, split: Split) -> Sequence[Example]:
        """The distinct problems of a split; raises `ConfigError` when the rule has too few."""
        return self.splits[split]

    @cached_property
    def splits(self) -> dict[Split, tuple[Example, ...]]:
        """Both splits, drawn once."""
        wanted: dict[Split, int] = {"train": self.num_train, "test": self.num_test}
        found: dict[Split, dict[str, Example]] = {"train": {}, "test": {}}
        draws = self._draws(_DRAWS_PER_EXAMPLE * (self.num_train + self.num_test))
        while any(len(found[s]) < wanted[s] for s in wanted):
            problem = next(draws, None)
            if problem is None:
                raise ConfigError(self._too_few({s: len(found[s]) for s in found}))
            question = normalise_question(problem.prompt)
            side: Split = "test" if split_position(problem.identity or question) < TEST_FRAC else "train"
            if len(found[side]) < wanted[side]:
                found[side].setdefault(question, self._example(problem, question))
        return {s: tuple(examples.values()) for s, examples in found.items()}

    def _draws(self, count: int) -> Iterator[Problem]:
        return (self.problem(Draw(seeding.key(0, f"task/{self._file}", i))) for i in range(count))

    @property
    def _file(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def _example(self, problem: Problem, question: str) -> Example:
        digest = hashlib.blake2b(question.encode(), digest_size=8).hexdigest()
        return Example(
            id=f"{self._file}/{digest}",
            prompt=problem.prompt,
            answer=problem.answer,
            demonstration=problem.demonstration,
            tags=problem.tags,
        )

    def _too_few(self, found: Mapping[Split, int]) -> str:
        return (
            f"{self._file} has too few different problems with these settings: asked for num_train "
            f"{self.num_train} and num_test {self.num_test}, found {found['train']} and {found['test']}. "
            "Ask for at most that many, or widen the settings that make the problems"
        )
