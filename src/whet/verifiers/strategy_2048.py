"""Plays 2048 by the strategy in a completion, in the sandbox."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from whet.errors import DataError
from whet.interfaces import Verifier
from whet.sandbox import Limits, SandboxResult, Session, session
from whet.text.code import first_python_block
from whet.types import Example, Score
from whet.verifiers._game_2048 import Board, Played, mean_worth, play, random_worth
from whet.verifiers.code_tests import reason

SIGNATURE = "def strategy(board):"
_LEAST = -2.9
"""Games are worth no less than this, and so more than a strategy that raises or takes too long."""
_IMPORTS = """import ast

def imports(program):
    found = []
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append(node.module)
    return found
"""
_READING = Limits(timeout_s=30.0, cpu_s=5)
"""CPU time is what a text costs; the wall may only be passed where the machine itself is stuck."""


class Strategy2048(Verifier):
    """The sum of three parts: `function_works`, `no_cheating` and `strategy_succeeds`.

    The strategy is the first fenced Python block from its first `def` on, which is `def strategy(board):`. It gets a
    copy of the board, a list of rows, and answers W, A, S or D; another answer loses the game, a move that changes
    nothing does not, and 200 of them in a row end it. The game never enters its process. The values of the first two
    parts, and of the third with `mode: compatible`, are those of the notebook that made the task known (gpt-oss 2048).

    function_works: -2 without such a function, -0.5 when running its definition fails, else 1.
    no_cheating: -1 without one, -20 when it imports more than the standard library, else 1.
    strategy_succeeds, graded: log2 of the largest tile and log2 of the score, each less the mean of random moves, added
    up; the mean over the games, at least -2.9, so that random play is worth about 0. A strategy that raises, takes too
    long or whose definition fails: -3, less than any game. Compatible: 20 for the target, -1 when time is up or
    nothing moves any more, -3 when it raises, else 2; 0 where the definition fails. There a function that does not
    parse has -20 in `no_cheating`, as in the notebook.

    Further parts, logged and not summed: `log2_tile`, `log2_score` and `won`, means over the games, and the same of
    random moves: `log2_tile_random`, `log2_score_random`, `won_random`.
    """

    runs_apart: ClassVar[bool] = True

    mode: Literal["graded", "compatible"] = "graded"
    """compatible: 6x6 to the tile 2048, which random moves reach too; one game."""
    form: Literal["program", "order"] = "program"
    """order: instead of a program up to eight letters, the keys in the order in which they are preferred, such as
    `SADW`. A letter that came before adds nothing, and a key that is not named is never played."""
    size: int = Field(default=4, ge=2, le=8)
    target: int = Field(default=2048, ge=8)
    """The tile that ends a game."""
    num_games: int = Field(default=3, ge=1)
    """Games per completion, one after another."""
    seed: int = Field(default=0, ge=0)
    """Which games the numbers in the prompts stand for. With a seed that no policy has seen nobody can work out, from
    the number and this code, where tiles will come."""
    timeout_s: float = Field(default=5.0, gt=0.0)
    """For the definition and all games of a completion."""
    memory_mb: int = Field(default=256, ge=64)
    packages: tuple[str, ...] = ()
    """Folders with packages that strategies may import; importing them costs `no_cheating` all the same."""

    @model_validator(mode="before")
    @classmethod
    def _compatible_sizes(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("mode") == "compatible":
            return {"size": 6, "num_games": 1, **values}
        return values

    @model_validator(mode="after")
    def _compatible_is_one_game(self) -> Strategy2048:
        if self.mode == "compatible" and self.num_games != 1:
            raise ValueError("mode compatible has one game for each completion; leave num_games out")
        return self

    @property
    def waits(self) -> bool:
        """Always: the strategy runs in another process."""
        return True

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The sum of the parts; raises `DataError` without the example's column `game`, the seed of its games."""
        game = None if example is None else example.columns.get("game")
        if type(game) is not int:
            raise DataError("strategy_2048 needs the column game, a whole number that decides the new tiles")
        try:
            return _judged(self, strategy_in(text, self.form) or "", game)
        except _Late as late:
            return late.score

    @property
    def limits(self) -> Limits:
        """Of the strategy: its definition and its calls share the time."""
        cpu_s = int(self.timeout_s) + 1
        return Limits(
            timeout_s=self.timeout_s,
            total_s=self.timeout_s,
            cpu_s=cpu_s,
            memory_mb=self.memory_mb,
            packages=self.packages,
        )


def strategy_in(text: str, form: str) -> str | None:
    """The program that a completion stands for, if it stands for one."""
    if form == "order":
        is_order = 1 <= len(text) <= 8 and set(text) <= set("WASD")
        return ordered("".join(dict.fromkeys(text))) if is_order else None
    block = first_python_block(text) or ""
    program = block[block.find("def") :] if "def" in block else ""
    return program if program.startswith(SIGNATURE) else None


@functools.lru_cache(
    maxsize=4096
)  # samples of a prompt often say the same, and games are a function of their seed
def _judged(verifier: Strategy2048, program: str, game: int) -> Score:
    foreign = _foreign_imports(program) if program else None
    if foreign is None:
        is_typo = program and verifier.mode == "compatible"
        parts = {"function_works": -2.0, "no_cheating": -20.0 if is_typo else -1.0, "strategy_succeeds": 0.0}
        return _score(verifier, parts, [], "syntax_error" if program else "no_function")
    games: list[Played] = []
    with session(program, verifier.limits) as strategy:
        works = strategy.started.ok
        failure = _play(verifier, strategy, game, games) if works else strategy.started
    parts = {
        "function_works": 1.0 if works else -0.5,
        "no_cheating": -20.0 if foreign else 1.0,
        "strategy_succeeds": _success(verifier, works, games, failure),
    }
    detail = reason(failure) if failure else "foreign_import" if foreign else games[-1].ending
    score = _score(verifier, parts, games, detail)
    if failure is not None and failure.status == "timeout":
        raise _Late(score)
    return score


class _Late(Exception):
    """Carries a score past the cache: what a clock decided may be decided otherwise next time."""

    def __init__(self, score: Score) -> None:
        super().__init__("timeout")
        self.score = score


def _play(verifier: Strategy2048, strategy: Session, game: int, games: list[Played]) -> SandboxResult | None:
    """Appends the games that were finished; what stopped the strategy, if something did."""
    try:
        for n in range(verifier.num_games):
            seed = (verifier.seed * 10**6 + game) * 1000 + n
            games.append(play(verifier.size, seed, verifier.target, _asking(strategy)))
    except _Stopped as stopped:
        return stopped.result
    return None


class _Stopped(Exception):
    def __init__(self, result: SandboxResult) -> None:
        super().__init__(result.detail)
        self.result = result


def _asking(strategy: Session) -> Callable[[Board], object]:
    def ask(board: Board) -> object:
        result = strategy.call("strategy", board)
        if not result.ok and result.kind != "NotPlain":
            raise _Stopped(result)
        return result.value

    return ask


def _success(
    verifier: Strategy2048, works: bool, games: list[Played], failure: SandboxResult | None
) -> float:
    if verifier.mode == "compatible":
        if not works:
            return 0.0
        if failure is not None:
            return -1.0 if failure.status == "timeout" else -3.0
        return {"won": 20.0, "idle": -1.0}.get(games[0].ending, 2.0)
    if failure is not None:
        return -3.0
    reached, base = mean_worth(games), random_worth(verifier.size, verifier.target)
    return max(_LEAST, math.fsum(reached[name] - base[name] for name in ("log2_tile", "log2_score")))


def _score(verifier: Strategy2048, parts: dict[str, float], games: list[Played], detail: str) -> Score:
    """The value, and beside it what random moves reach."""
    base = random_worth(verifier.size, verifier.target)
    told = mean_worth(games) | {f"{name}_random": value for name, value in base.items()}
    return Score(value=math.fsum(parts.values()), parts={**parts, **told}, detail=detail)


def _foreign_imports(program: str) -> set[str] | None:
    """What a program imports beyond the standard library; None when it does not parse.

    It is read in a child of its own: what a parser makes of a hostile text is nothing for the trainer's process.
    """
    with session(_IMPORTS, _READING) as reader:
        found = reader.call("imports", program)
    if not found.ok:
        return None
    return {str(name).partition(".")[0] for name in found.value} - sys.stdlib_module_names


_ORDERED = """def strategy(board):
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
    lines = {"A": board, "W": columns, "D": [r[::-1] for r in board], "S": [c[::-1] for c in columns]}
    for key in "ORDER":
        if any(slide(list(line)) != list(line) for line in lines[key]):
            return key
    return "ORDER"[0]
"""


def ordered(keys: str) -> str:
    """A program that makes the first of some moves that changes the board."""
    return _ORDERED.replace("ORDER", keys)
