"""A policy that begins with random weights learns to listen."""

from pathlib import Path

import pytest

from whet.config import load_config
from whet.runs import reader
from whet.training import launch


@pytest.mark.slow
def test_guess_number_is_learned_from_nothing_beyond_the_best_player_that_does_not_listen(
    tmp_path: Path,
) -> None:
    run = launch.start(load_config(["guess_number", {"runs_root": str(tmp_path), "trackers": ["jsonl"]}]))
    first, *_, last = (m for m in reader.metrics(run) if "eval/guess_number/pass@1" in m)
    # Three guesses that do not listen: each number is right in a seventh of the games. They find 3 of 7, and earn
    # (1 + 2/3 + 1/3) / 7 = 2/7. The ends of the intervals are of 95%, with the game as the unit.
    assert last["eval/guess_number/pass@1_low"] > 3 / 7
    assert last["eval/guess_number/mean@4_low"] > 2 / 7
    assert last["eval/guess_number/greedy_low"] > 3 / 7
    assert first["eval/guess_number/pass@1_high"] < 1 / 7
