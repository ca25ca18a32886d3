"""How well plain strategies play 2048, random moves first, and what a completion costs in the sandbox.

    python bench/game_2048.py [--games 200] [--sizes 4 5 6]
    python bench/game_2048.py --run runs/run_...

The games have the same tiles for every strategy. `reward` is the graded part `strategy_succeeds` without its lower
limit, with its 95% interval; random moves are worth 0 there. `won` is the share of games that reach 2048. With `--run`
the test completions of a run's latest checkpoint are held against random moves in the very same games.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import whet
from whet.evals.records import EvalRecord
from whet.functional.statistics import Interval, confidence_interval
from whet.verifiers._game_2048 import KEYS, Board, Played, moved, play, random_moves, random_worth, worth

TARGET = 2048
FIRST_GAME = 10**6
GRADED = ("log2_tile", "log2_score")


def preferring(keys: str) -> Callable[[Board], str]:
    """The first of some moves that changes the board; the first of all where none does."""
    return lambda board: next((k for k in keys if moved(board, k)[0] != board), keys[0])


def cycle(board: Board, turns: itertools.count[int]) -> str:
    """W, A, S and D in turn, whatever the board."""
    return "WASD"[next(turns) % 4]


def most_free(board: Board) -> str:
    """The move after which most fields are free, as the task's own solution."""
    after = {k: moved(board, k)[0] for k in KEYS}
    return max("SADW", key=lambda k: sum(r.count(0) for r in after[k]) if after[k] != board else -1)


def strategies(seed: int) -> dict[str, Callable[[Board], str]]:
    """By name; what they remember is of one game."""
    turns = itertools.count()
    return {
        "random moves": random_moves(seed),
        "always W": lambda board: "W",
        "W, A, S, D in turn": lambda board: cycle(board, turns),
        "order SADW": preferring("SADW"),
        "most free fields": most_free,
    }


def line(name: str, size: int, played: Sequence[Played]) -> str:
    """One row of the table."""
    base = random_worth(size, TARGET)
    found = [worth(game) for game in played]
    above = [sum(w[k] - base[k] for k in GRADED) for w in found]
    interval = confidence_interval(above, range(len(above)))
    tile, score, won = (sum(w[k] for w in found) / len(found) for k in ("log2_tile", "log2_score", "won"))
    moves = sum(game.moves for game in played) / len(played)
    return (
        f"{size}x{size}  {name:20} log2 tile {tile:5.2f}  log2 score {score:5.2f}  won {won:4.2f}  moves {moves:6.0f}"
        f"  reward {interval.mean:+6.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"
    )


def cost() -> str:
    """Seconds of one completion, the task's own solution: three games on 4x4."""
    task = whet.task("strategy_2048", num_test=6)
    first, *others = task.examples("test")
    task.score(first, first.demonstration or "")  # starts what has to be started
    start = time.perf_counter()
    for example in others:
        task.score(example, example.demonstration or "")
    return f"one completion in the sandbox: {(time.perf_counter() - start) / len(others):.2f} s"


def at_random(size: int, seeds: Sequence[int], plays: int) -> float:
    """What random moves reach in some games: log2 of the tile and of the score, added, in the mean over plays."""
    draws = itertools.count()
    found = [worth(play(size, s, TARGET, random_moves(next(draws)))) for s in seeds for _ in range(plays)]
    return sum(w[k] for w in found for k in GRADED) / len(found)


def above_random(
    records: Iterable[EvalRecord], size: int = 4, num_games: int = 3, plays: int = 16
) -> Interval:
    """How far sampled completions of test examples are above random moves in the same games, example by example.

    What is no strategy, or fails, counts as a board with one tile of 2 and no score, the least there is.
    """
    chosen = [r for r in records if not r.greedy]
    games = [int(r.problem.rpartition("/")[2]) for r in chosen]
    base = {n: at_random(size, range(n * 1000, n * 1000 + num_games), plays) for n in {*games}}
    reached = [{"log2_tile": 1.0, "log2_score": 0.0, **r.score.parts} for r in chosen]
    above = [sum(r[k] for k in GRADED) - base[n] for r, n in zip(reached, games, strict=True)]
    return confidence_interval(above, games)


def told(run: str) -> str:
    """One line about a run, and what its sampled completions are."""
    result = whet.open_run(run).evaluate()
    interval = above_random(result.records)
    texts = Counter(r.text for r in result.records if not r.greedy).most_common(3)
    return (
        f"above random moves {interval.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}], "
        f"{interval.clusters} games of test examples; most often {texts}"
    )


def main() -> None:
    """Prints one line per board and strategy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 5, 6])
    parser.add_argument("--run", help="the directory of a run of strategy_2048_orders")
    arguments = parser.parse_args()
    if arguments.run:
        print(told(arguments.run))
        return
    for size in arguments.sizes:
        count = arguments.games if size == 4 else max(2, arguments.games // 4)
        games = range(FIRST_GAME, FIRST_GAME + count)
        for name in strategies(0):
            print(line(name, size, [play(size, n, TARGET, strategies(n)[name]) for n in games]), flush=True)
    print(cost())


if __name__ == "__main__":
    main()
