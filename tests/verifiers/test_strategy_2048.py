"""2048: the rules against published vectors, and what strategies are paid, the dishonest ones too."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

import whet
from whet import Example
from whet.errors import DataError
from whet.seeding import choice, key
from whet.verifiers._game_2048 import KEYS, MOST_IDLE, Game, moved, play, random_worth, slide
from whet.verifiers.strategy_2048 import ordered

VECTORS = json.loads((Path(__file__).parents[1] / "fixtures" / "game2048" / "move_vectors.json").read_text())
DIRECTIONS = {"up": "W", "left": "A", "down": "S", "right": "D"}
GAME = Example(id="e", prompt="p", columns={"game": 2})


def tiles(exponents):
    return [[2**n if n else 0 for n in row] for row in exponents]


@pytest.mark.parametrize("case", VECTORS["moves"], ids=lambda case: f"{case['board']} {case['dir']}")
def test_moves_are_those_of_the_vectors(case):
    board = tiles(VECTORS[f"board_{case['board']}"])
    assert moved(board, DIRECTIONS[case["dir"]]) == (tiles(case["after"]), case["reward"])


@pytest.mark.parametrize("case", VECTORS["row_left"], ids=lambda case: str(case["row"]))
def test_each_tile_merges_at_most_once(case):
    assert list(slide(tuple(tiles([case["row"]])[0]))[0]) == tiles([case["after"]])[0]


@pytest.mark.parametrize("case", VECTORS["legal"], ids=lambda case: case["dir"])
def test_a_move_that_changes_nothing_is_known(case):
    board = tiles(case["board"])
    assert (moved(board, DIRECTIONS[case["dir"]])[0] != board) == case["legal"]


@pytest.mark.parametrize("case", VECTORS["terminal"])
def test_a_full_board_without_a_pair_is_the_end(case):
    game = Game(4, 0)
    game.board = tiles(case["board"])
    assert game.is_stuck == case["terminal"]


def test_a_game_begins_with_two_tiles_and_is_a_function_of_its_seed():
    boards = [Game(4, seed).board for seed in (1, 1, 2)]
    assert sorted(t for row in boards[0] for t in row if t) in ([2, 2], [2, 4], [4, 4])
    assert boards[0] == boards[1] != boards[2]


def test_new_tiles_are_a_four_one_time_in_ten():
    new = [t for seed in range(1500) for row in Game(4, seed).board for t in row if t]
    assert 0.08 < new.count(4) / len(new) < 0.12  # 3,000 tiles: 0.1 +- 0.0055


def test_random_moves_reach_a_known_worth():
    found = random_worth(4, 2048)
    assert 6.2 < found["log2_tile"] < 6.9  # between 64 and 128, as published plays of random moves end
    assert 9.4 < found["log2_score"] < 10.3
    assert found["won"] == 0


def test_random_moves_win_every_game_of_the_compatible_board():
    assert random_worth(6, 2048)["won"] == 1


def test_a_board_is_stuck_exactly_where_no_move_changes_it():
    for seed in range(200):
        game, draws = Game(3, seed), key(seed, "moves")
        for n in range(seed):
            game.play(choice(draws, KEYS, n))
        assert game.is_stuck == all(moved(game.board, to)[0] == game.board for to in KEYS)


def test_a_move_without_effect_does_not_lose_and_many_of_them_end_the_game():
    game = Game(4, 3)
    answers = iter(["W", "W", "W", "A", "X"])
    assert play(4, 3, 2048, lambda board: next(answers)).ending == "illegal"
    assert play(4, 3, 2048, lambda board: "W").moves <= MOST_IDLE + 20
    assert game.idle == 0


def score(body, mode="compatible", **settings):
    program = body if body.startswith("def") else f"def strategy(board):\n    {body}"
    judge = whet.verifier("strategy_2048", mode=mode, **{"timeout_s": 60.0, **settings})
    return judge.score(f"So:\n```python\n{program}\n```", "", GAME)


def three(found):
    return tuple(found.parts[name] for name in ("function_works", "no_cheating", "strategy_succeeds"))


GOOD = (
    whet.task("strategy_2048")
    .examples("test")[0]
    .demonstration.removeprefix("```python\n")
    .removesuffix("\n```")
)


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (GOOD, (1.0, 1.0, 20.0)),
        ('return "W"', (1.0, 1.0, -1.0)),
        ('return "up"', (1.0, 1.0, 2.0)),
        ("return 1 / 0", (1.0, 1.0, -3.0)),
        ("import numpy\n    return 'W'", (1.0, -20.0, -3.0)),
        ("import math, collections\n    return 'X'", (1.0, 1.0, 2.0)),
        ("'\\d'\n    return 'X'", (1.0, 1.0, 2.0)),
        ("while True: pass", (1.0, 1.0, -1.0)),
        ("def strategy(board):\n    return 'X'\n1 / 0", (-0.5, 1.0, 0.0)),
        ("def other(board):\n    return 'W'", (-2.0, -1.0, 0.0)),
        ("def strategy(board: list):\n    return 'W'", (-2.0, -1.0, 0.0)),
        (
            "def strategy(board):\n    return (",
            (-2.0, -20.0, 0.0),
        ),  # what does not parse was no "stdlib only"
        ("def strategy(board):\n    from . import x", (1.0, 1.0, -3.0)),
        ("def strategy(board):\n    return 'X'\nwhile True: pass", (-0.5, 1.0, 0.0)),
    ],
)
def test_the_compatible_mode_pays_what_the_notebook_paid(body, parts):
    assert three(score(body, timeout_s=0.5 if "while True" in body else 60.0)) == parts


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("return 1 / 0", (1.0, 1.0, -3.0)),
        ("while True: pass", (1.0, 1.0, -3.0)),
        ("import os\n    os._exit(0)", (1.0, 1.0, -3.0)),
        ("return bytearray(10**11)", (1.0, 1.0, -3.0)),
        ("import numpy\n    return 'W'", (1.0, -20.0, -3.0)),
        ("def strategy(board):\n    return 'X'\n1 / 0", (-0.5, 1.0, -3.0)),
        ("def strategy(board):\n    return (", (-2.0, -1.0, 0.0)),
        ("def other(board):\n    return 'W'", (-2.0, -1.0, 0.0)),
        ("return 'W'", (1.0, 1.0, -2.9)),
    ],
)
def test_graded_a_strategy_that_fails_gets_less_than_any_that_plays(body, parts):
    assert three(score(body, mode="graded", timeout_s=0.3 if "while True" in body else 60.0)) == parts


def test_a_completion_without_a_program_is_worth_three_less_than_nothing():
    assert whet.verifier("strategy_2048").score("W", "", GAME).value == -3.0


@pytest.mark.parametrize(
    "body",
    [
        "board[0][0] = board[0][1] = 1024\n    return 'A'",
        """import sys
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if hasattr(value, 'board'):
                value.board = [[2048] * 6] * 6
        frame = frame.f_back
    return 'W'""",
        "import gc\n    for o in gc.get_objects():\n        if hasattr(o, 'score'): o.score = 9**9\n    return 'W'",
        "import signal\n    signal.alarm(0)\n    return 'W'",
        "open('/etc/hosts').read()\n    return 'W'",
        "class K(str):\n        __eq__ = lambda s, o: True\n        __hash__ = str.__hash__\n    return K('won')",
    ],
    ids=["live rows", "frames", "objects", "alarm", "files", "a key equal to all"],
)
def test_reaching_for_the_game_wins_nothing(body):
    assert score(body).parts["strategy_succeeds"] <= 2.0
    assert score(body, mode="graded").parts["strategy_succeeds"] < 0


@pytest.mark.parametrize(
    "body", ["return " + "-" * 40_000 + "1", "return " + "(" * 10_000, "x\0", "'\ud800'"]
)
def test_a_program_that_no_parser_takes_is_a_function_that_does_not_work(body):
    found = score(body, mode="graded")
    assert (found.value, found.detail) == (-3.0, "syntax_error")


@pytest.mark.parametrize(
    ("body", "most_s"),
    [
        ("import time\n    time.sleep(0.05)\n    return 'W'", 0.8),  # many calls, each of them short
        ("import time\n    time.sleep(0.3)\n    return 'X'", 0.8),  # the second call begins before the end
        ("def strategy(board):\n    import time\n    time.sleep(0.3)\n    return 'X'\nstrategy(0)", 0.8),
    ],
)
def test_time_is_for_the_definition_and_all_games_of_a_completion(body, most_s):
    whet.verifier("strategy_2048").score("", "", GAME)  # what has to be there once
    score("return 'X'", mode="graded")
    start = time.monotonic()
    assert score(body, mode="graded", timeout_s=0.4).detail == "timeout"
    assert time.monotonic() - start < most_s


def test_a_game_is_won_by_any_tile_that_reaches_the_target():
    assert (
        play(4, 3, 100, ordered_moves("SADW")).ending == "won"
    )  # the notebook asked for equality: 128 is not 100


def ordered_moves(keys):
    """The first of some moves that changes the board."""
    return lambda board: next(k for k in keys if moved(board, k)[0] != board)


def test_the_program_of_an_order_makes_the_same_moves_as_the_rule_itself():
    played = [play(4, 2000 + n, 2048, ordered_moves("SADW")) for n in range(3)]  # the three games of game 2
    parts = whet.verifier("strategy_2048", form="order").score("SADW", "", GAME).parts
    assert parts["log2_tile"] == pytest.approx(sum(math.log2(p.largest) for p in played) / 3)
    assert parts["log2_score"] == pytest.approx(sum(math.log2(p.score) for p in played) / 3)


def test_another_seed_is_other_games_of_the_same_number():
    whole, scores = {}, {}
    for seed in (0, 5):
        played = [play(4, (seed * 10**6 + 2) * 1000 + n, 2048, ordered_moves("SADW")) for n in range(3)]
        whole[seed] = sum(math.log2(p.score) for p in played) / 3
        judge = whet.verifier("strategy_2048", form="order", seed=seed)
        scores[seed] = judge.score("SADW", "", GAME).parts["log2_score"]
    assert scores == pytest.approx(whole)
    assert scores[0] != scores[5]


def test_random_play_is_worth_nothing_in_the_mean():
    found = score("import random\n    return random.choice('WASD')", mode="graded", num_games=20)
    assert abs(found.parts["strategy_succeeds"]) < 3 * math.hypot(1.47 / math.sqrt(20), 0.09)


def test_graded_play_is_measured_at_random_moves():
    found = score(GOOD, mode="graded")
    parts = found.parts
    assert found.detail == "stuck" and parts["won"] == 0
    above = parts["log2_tile"] - parts["log2_tile_random"] + parts["log2_score"] - parts["log2_score_random"]
    assert parts["strategy_succeeds"] == pytest.approx(above)
    assert found.value == pytest.approx(2 + above)
    assert above > 1


def test_an_illegal_key_at_once_is_the_worst_that_runs():
    assert three(score("return None", mode="graded")) == (1.0, 1.0, -2.9)


def test_an_order_of_keys_is_played_as_a_program():
    judge = whet.verifier("strategy_2048", form="order")
    assert judge.score("SADW", "", GAME).value == score(ordered("SADW"), mode="graded").value
    assert judge.score("SSADSW", "", GAME).value == judge.score("SADW", "", GAME).value
    assert judge.score("up", "", GAME).value == -3.0


def test_equal_completions_have_equal_scores():
    assert score(GOOD, mode="graded") == score(GOOD, mode="graded", memory_mb=300)


def test_a_row_without_a_game_is_an_error():
    with pytest.raises(DataError, match="needs the column game"):
        whet.verifier("strategy_2048").score("", "", Example(id="e", prompt="p"))


def test_the_compatible_mode_has_one_game():
    with pytest.raises(ValueError, match="one game"):
        whet.verifier("strategy_2048", mode="compatible", num_games=3)
