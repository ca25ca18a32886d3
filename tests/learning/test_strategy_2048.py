"""A tiny policy learns from nothing to play 2048 better than random moves."""

from __future__ import annotations

import pytest

import whet
from whet.functional.statistics import confidence_interval


@pytest.mark.slow
def test_the_shipped_config_beats_random_moves_on_games_it_has_not_seen(tmp_path):
    run = whet.train("strategy_2048_orders", runs_root=str(tmp_path), trackers=["jsonl"])
    records = [r for r in run.evaluate().records if r.sampling["temperature"] > 0]
    values = [r.score.parts["strategy_succeeds"] for r in records]
    found = confidence_interval(values, [r.problem for r in records])
    assert found.low > 0  # random moves are worth 0 there
