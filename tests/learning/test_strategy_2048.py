"""A tiny policy learns from nothing to play 2048 better than random moves."""

from __future__ import annotations

import pytest

import whet
from game_2048 import above_random


@pytest.mark.slow
def test_the_shipped_config_beats_random_moves_in_games_it_has_not_seen(tmp_path):
    run = whet.train("strategy_2048_orders", runs_root=str(tmp_path), trackers=["jsonl"])
    found = above_random(run.evaluate().records)
    assert found.low > 0, found
