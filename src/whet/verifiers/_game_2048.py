"""The game 2048, and how well random moves play it. Rules: gabrielecirulli/2048, `js/game_manager.js`."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from whet.seeding import key, randint

Board = list[list[int]]
"""Tile values by row, 0 where there is none."""
Key = Literal["W", "A", "S", "D"]
KEYS: tuple[Key, ...] = ("W", "A", "S", "D")
"""Up, left, down, right."""
MOST_IDLE = 200
"""Moves in a row that change nothing, after which a game is given up: who plays the same again plays it for ever."""
_FOURS = 10
"""Of a hundred new tiles so many are a 4."""


@functools.lru_cache(maxsize=2**16)  # four moves of a game look at the same rows again and again
def slide(row: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """A row moved to the left, each tile merged at most once, and the sum of the merged tiles."""
    tiles = [tile for tile in row if tile]
    found: list[int] = []
    gained = 0
    while tiles:
        tile = tiles.pop(0)
        if tiles and tiles[0] == tile:
            tile += tiles.pop(0)
            gained += tile
        found.append(tile)
    return (*found, *[0] * (len(row) - len(found))), gained


def moved(board: Board, to: Key) -> tuple[Board, int]:
    """The board after a move, without a new tile, and the points."""
    step = -1 if to in "SD" else 1
    lines = zip(*board, strict=True) if to in "WS" else map(tuple, board)
    slid = [slide(line[::step]) for line in lines]
    after = [line[::step] for line, _ in slid]
    if to in "WS":
        after = list(zip(*after, strict=True))
    return [list(line) for line in after], sum(gained for _, gained in slid)


class Game:
    """One game: two tiles at the start, one more after every move that changed the board. A function of the seed."""

    def __init__(self, size: int, seed: int) -> None:
        self.board: Board = [[0] * size for _ in range(size)]
        self.score = 0
        self.idle = 0
        self._key = key(seed, "2048", size)
        self._drawn = 0
        self._add()
        self._add()

    @property
    def largest(self) -> int:
        """The largest tile."""
        return max(map(max, self.board))

    @property
    def is_stuck(self) -> bool:
        """Whether no move changes the board."""
        lines = [*self.board, *zip(*self.board, strict=True)]
        return all(a and b and a != b for line in lines for a, b in itertools.pairwise(line))

    def play(self, to: Key) -> None:
        """Makes a move. One that changes nothing adds no tile."""
        after, gained = moved(self.board, to)
        if after == self.board:
            self.idle += 1
            return
        self.board, self.idle = after, 0
        self.score += gained
        self._add()

    def _add(self) -> None:
        free = [(r, c) for r, row in enumerate(self.board) for c, tile in enumerate(row) if not tile]
        row, column = free[self._draw(0, len(free) - 1)]
        self.board[row][column] = 4 if self._draw(1, 100) <= _FOURS else 2

    def _draw(self, low: int, high: int) -> int:
        self._drawn += 1
        return randint(self._key, low, high, self._drawn)


Ending = Literal["won", "stuck", "idle", "illegal"]


@dataclass(frozen=True, slots=True)
class Played:
    """How a game ended."""

    ending: Ending
    largest: int
    score: int
    moves: int


def play(size: int, seed: int, target: int, strategy: Callable[[Board], object]) -> Played:
    """A game to its end. The strategy gets a copy of the board; what is not W, A, S or D, in any case, loses."""
    game, moves = Game(size, seed), 0

    def ended(how: Ending) -> Played:
        return Played(how, game.largest, game.score, moves)

    while game.largest < target:
        if game.is_stuck:
            return ended("stuck")
        if game.idle >= MOST_IDLE:
            return ended("idle")
        to = strategy([list(row) for row in game.board])
        chosen = to.upper() if isinstance(to, str) and len(to) == 1 else ""
        found = next((k for k in KEYS if k == chosen), None)
        if found is None:
            return ended("illegal")
        game.play(found)
        moves += 1
    return ended("won")


def worth(played: Played) -> dict[str, float]:
    """log2 of the largest tile, log2 of the score (of 1, when there is none), and whether the target was reached."""
    return {
        "log2_tile": math.log2(played.largest),
        "log2_score": math.log2(max(played.score, 1)),
        "won": float(played.ending == "won"),
    }


def mean_worth(games: Sequence[Played]) -> dict[str, float]:
    """The means of `worth` over games; empty without one."""
    found = [worth(played) for played in games]
    return {name: math.fsum(w[name] for w in found) / len(found) for name in (found[0] if found else ())}


@functools.cache
def random_worth(size: int, target: int) -> Mapping[str, float]:
    """The means of `worth` over games of moves that are drawn uniformly: the same ones everywhere.

    On 4x4 log2 of the tile and log2 of the score, added, have a standard error of 0.09.
    """
    count = (
        256 if size <= 4 else 64 if size == 5 else 8
    )  # games last longer on large boards, and end more alike
    return mean_worth([play(size, -1 - n, target, random_moves(n)) for n in range(count)])


def random_moves(seed: int) -> Callable[[Board], str]:
    """A strategy that draws each move uniformly, those that change nothing too."""
    draws, drawn = key(seed, "2048 at random"), itertools.count()
    return lambda board: KEYS[randint(draws, 0, 3, next(drawn))]
