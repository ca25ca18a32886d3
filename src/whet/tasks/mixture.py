"""Several tasks as one, in given proportions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated

from pydantic import Field, SerializeAsAny, field_validator

from whet import registry
from whet.errors import ConfigError
from whet.interfaces import Episode, Split, Task, Verifier
from whet.registry import Settings
from whet.types import Example, Score, TurnRules


class Part(Settings):
    """One task of a mixture."""

    task: Annotated[SerializeAsAny[Task], registry.field("tasks")]
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)


class Mixture(Task):
    """Parts in the proportions of their weights, in every stretch of the examples, until one part has no more rows.

    No row comes twice. The tag `part` names the part, and each part scores its own completions.
    """

    parts: dict[str, Part] = Field(min_length=1)
    """For instance `{sums: {task: arithmetic, weight: 3}, words: {task: word_problems}}`."""

    @field_validator("parts")
    @classmethod
    def _not_nested(cls, parts: dict[str, Part]) -> dict[str, Part]:
        nested = [name for name, part in parts.items() if isinstance(part.task, Mixture)]
        if nested:
            raise ValueError(
                f"expected plain tasks; {nested[0]} is a mixture itself, name its parts here instead"
            )
        return parts

    def load(self, split: Split) -> Sequence[Example]:
        """The parts' examples, interleaved; ids begin with the part's name."""
        rows = {name: part.task.examples(split) for name, part in self.parts.items()}
        weights = {name: part.weight for name, part in self.parts.items()}
        return [_labelled(rows[name][n], name) for name, n in _interleaved(weights, rows)]

    def default_verifier(self) -> Verifier:
        """Scores each completion by the verifier of its part; raises `ConfigError` for a part that has none."""
        for name, part in self.parts.items():
            try:
                part.task.verifier or part.task.default_verifier()
            except ConfigError as error:
                raise ConfigError(f"part {name} of the mixture: {error}") from None
        return self._by_part

    def verifier_for(self, example: Example) -> Verifier:
        """That of the example's part, unless the mixture has one of its own."""
        return self.verifier or self.parts[example.tags["part"]].task.verifier_for(example)

    @property
    def has_turns(self) -> bool:
        """Whether a part has; the others then have episodes of one turn."""
        return any(part.task.has_turns for part in self.parts.values())

    def turn_rules(self, example: Example) -> TurnRules:
        """Those of the example's part."""
        return self._part(example).turn_rules(example)

    def start(self, example: Example, seed: int) -> Episode:
        """An episode of the example's part; a single answer is scored as `verifier_for` says."""
        part = self._part(example)
        return part.start(example, seed) if part.has_turns else super().start(example, seed)

    def observed_texts(self) -> Sequence[str]:
        """Those of all parts."""
        return [text for part in self.parts.values() for text in part.task.observed_texts()]

    def _part(self, example: Example) -> Task:
        return self.parts[example.tags["part"]].task

    @cached_property
    def _by_part(self) -> _ByPart:
        return _ByPart(tasks={name: part.task for name, part in self.parts.items()})


class _ByPart(Verifier):
    tasks: dict[str, SerializeAsAny[Task]]

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        if example is None:
            raise ValueError("a mixture scores a completion of one of its examples: give the example")
        return self.tasks[example.tags["part"]].score(example, text)


def _labelled(example: Example, part: str) -> Example:
    return dataclasses.replace(example, id=f"{part}/{example.id}", tags={**example.tags, "part": part})


def _interleaved(
    weights: Mapping[str, float], rows: Mapping[str, Sequence[Example]]
) -> Iterator[tuple[str, int]]:
    """(part, row) so that after every n rows each part has had its share of n, within one row."""
    total = sum(weights.values())
    taken = dict.fromkeys(weights, 0)
    while True:
        n = sum(taken.values()) + 1
        name = max(weights, key=lambda part: n * weights[part] / total - taken[part])
        if taken[name] == len(rows[name]):
            return
        yield name, taken[name]
        taken[name] += 1
