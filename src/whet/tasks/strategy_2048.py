"""A program that plays 2048: the completion is a strategy, and what it reaches in the game is the reward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from whet.interfaces import Split, Task, Verifier
from whet.tasks._code import fenced
from whet.types import Example
from whet.verifiers.strategy_2048 import Strategy2048 as Plays

_PROGRAM = """Write a short Python function that plays the game 2048 on a board of {size} x {size}.
It begins with `def strategy(board):`, gets the board as a list of rows, 0 where there is no tile, and returns one of
"W" (up), "A" (left), "S" (down), "D" (right). Use nothing but the standard library, and write the function in one
fenced block (```python). It is judged on game {game}."""
_MOST_FREE = """def strategy(board):
    def slide(row):
        tiles = [t for t in row if t]
        found = []
        while tiles:
            tile = tiles.pop(0)
            if tiles and tiles[0] == tile:
                tile += tiles.pop(0)
            found.append(tile)
        return found + [0] * (len(row) - len(found))

    columns = [list(c) for c in zip(*board)]
    lines = {"S": [c[::-1] for c in columns], "A": board, "D": [r[::-1] for r in board], "W": columns}

    def free(key):
        after = [slide(line) for line in lines[key]]
        return sum(line.count(0) for line in after) if after != lines[key] else -1

    return max(lines, key=free)
"""
"""The move after which most fields are free."""
_ORDER = "SADW"


class Strategy2048(Task):
    """One question, asked for games with different tiles; training and test play different games.

    The reward is that of the verifier `strategy_2048`: three parts, and what random moves reach beside them.
    """

    is_graded: ClassVar[bool] = True

    num_train: int = Field(default=1000, ge=1)
    num_test: int = Field(default=100, ge=1)
    mode: Literal["graded", "compatible"] = "graded"
    """compatible: 6x6 to the tile 2048 with one game, rewarded as in the notebook that made the task known."""
    form: Literal["program", "order"] = "program"
    """order: the answer is the keys in the order of preference, for a policy that begins with nothing."""
    prompt_format: str | None = None
    """A text with {size} and {game}. Default: one for the form."""

    @field_validator("prompt_format")
    @classmethod
    def _tells_games_apart(cls, value: str | None) -> str | None:
        if value is not None and "{game}" not in value:
            raise ValueError("expected a text with {game}, so that training and test ask different questions")
        return value

    @model_validator(mode="after")
    def _asks_for_what_is_judged(self) -> Strategy2048:
        judge = self.verifier
        if isinstance(judge, Plays) and (judge.mode, judge.form) != (self.mode, self.form):
            raise ValueError(
                f"expected mode and form of the task ({self.mode}, {self.form}) to be those of its verifier "
                f"({judge.mode}, {judge.form}); set both"
            )
        return self

    def load(self, split: Split) -> Sequence[Example]:
        """Games with odd numbers to train on, with even ones to test on."""
        count, first = (self.num_train, 1) if split == "train" else (self.num_test, 2)
        return [self._example(game) for game in range(first, first + 2 * count, 2)]

    def default_verifier(self) -> Verifier:
        """`strategy_2048` of the same mode and form."""
        return self._own

    @cached_property
    def _own(self) -> Plays:
        return Plays.model_validate({"name": "strategy_2048", "mode": self.mode, "form": self.form})

    @property
    def _size(self) -> int:
        """Of the board that is played on: a verifier of the config may have another."""
        return (self.verifier if isinstance(self.verifier, Plays) else self._own).size

    def _example(self, game: int) -> Example:
        text = self.prompt_format or (_PROGRAM if self.form == "program" else "{game}:")
        prompt = text.replace("{size}", str(self._size)).replace("{game}", str(game))
        solution = fenced(_MOST_FREE) if self.form == "program" else _ORDER
        return Example(
            id=f"strategy_2048/{game}",
            prompt=prompt,
            answer=solution,
            demonstration=solution,
            tags={"mode": self.mode},
            columns={"game": game},
        )
