"""A game in turns: guess a number; each guess is answered by `higher` or `lower`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, field_validator, model_validator

from whet.interfaces import Episode, Split
from whet.seeding import key, randint
from whet.text.numbers import only_number
from whet.turns import TurnTask
from whet.types import Example, Turn

_FIELDS = ("{game}", "{smallest}", "{largest}")
_ASK_AGAIN = "?"


class GuessNumber(TurnTask):
    """`17) 1-7?` asks for a number that the game and the seed of the episode decide, each equally likely.

    The reward of finding it is 1 in the first turn, and 1 / max_turns less in each later one: with 7 numbers and 3
    turns 1, 2/3, 1/3. An answer that is not one number is answered `?` and costs its turn. Halving what is left earns
    11/21 on average there (1 number of 7 in the first turn, 2 in the second, 4 in the third) and finds every number.
    Guesses that do not listen earn 2/7 at best (three different numbers, each right in a seventh of the games) and find
    3 of 7.
    """

    max_turns: int = Field(default=3, ge=1)
    """Guesses at most."""
    smallest: int = Field(default=1, ge=0)
    largest: int = Field(default=7, ge=1)
    num_train: int = Field(default=2000, ge=1)
    num_test: int = Field(default=500, ge=1)
    prompt_format: str = "{game}) {smallest}-{largest}?"
    """For a pretrained model, say: `Game {game}. I think of a whole number from {smallest} to {largest}. Guess it:
    write a number and nothing else.`"""

    @field_validator("prompt_format")
    @classmethod
    def _has_the_fields(cls, value: str) -> str:
        if any(field not in value for field in _FIELDS):
            raise ValueError(
                f"expected a text with {', '.join(_FIELDS)}, such as '{{game}}) {{smallest}}-{{largest}}?'"
            )
        return value

    @model_validator(mode="after")
    def _is_a_range(self) -> GuessNumber:
        if self.smallest >= self.largest:
            raise ValueError("expected smallest < largest")
        return self

    def load(self, split: Split) -> Sequence[Example]:
        """Games with odd numbers to train on, with even ones to test on."""
        count, first = (self.num_train, 1) if split == "train" else (self.num_test, 2)
        return [self._example(game) for game in range(first, first + 2 * count, 2)]

    def start(self, example: Example, seed: int) -> Episode:
        """A game whose number is drawn from the seed and the example's id."""
        secret = randint(key(seed, example.id), self.smallest, self.largest)
        return _Game(secret=secret, max_turns=self.max_turns)

    def observed_texts(self) -> Sequence[str]:
        """What a guess may be answered, and the digits to guess with."""
        return ("higher", "lower", _ASK_AGAIN, "0123456789")

    def _example(self, game: int) -> Example:
        values = map(str, (game, self.smallest, self.largest))
        prompt = self.prompt_format
        for field, value in zip(_FIELDS, values, strict=True):
            prompt = prompt.replace(field, value)
        return Example(id=f"guess_number/{game}", prompt=prompt)


@dataclass(slots=True, kw_only=True)
class _Game:
    secret: int
    max_turns: int
    guesses: int = 0

    def step(self, text: str) -> Turn:
        guess = only_number(text)
        self.guesses += 1
        if guess is None:
            return Turn(observation=_ASK_AGAIN, detail="no_answer")
        if guess == self.secret:
            return Turn(reward=(self.max_turns + 1 - self.guesses) / self.max_turns, done=True)
        return Turn(observation="higher" if self.secret > guess else "lower")
