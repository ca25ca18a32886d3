"""Statistics of repeated runs."""

import time

import pytest
import torch

import timing
from timing import Spent, Stopwatch, markdown, spent, summary, take_turns, times_faster


def runs(*walls):
    return [Spent(wall, wall / 2, {"forward": wall / 4}) for wall in walls]


def test_runs_take_turns():
    order = []
    of = {name: lambda name=name: order.append(name) or Spent(1.0, 1.0, {}) for name in "ABC"}
    assert {name: len(found) for name, found in take_turns(of, 2).items()} == {"A": 2, "B": 2, "C": 2}
    assert "".join(order) == "ABCABC"


def test_a_summary_is_of_medians():
    found = summary(runs(2.0, 4.0, 9.0), tokens=100)
    assert found["wall_s"] == {"median": 4.0, "min": 2.0, "max": 9.0}
    assert (found["tokens_per_s"], found["tokens_per_cpu_s"]) == (25.0, 50.0)
    assert found["parts_cpu_s"] == {"forward": 1.0}


def test_one_that_takes_half_the_time_is_twice_as_fast():
    ours, peer = summary(runs(1.0, 2.0, 3.0)), summary(runs(4.0, 4.0, 4.0))
    assert times_faster(ours, peer) == {"wall_s": 2.0, "cpu_s": 2.0}


def test_sleep_takes_wall_time_and_hardly_any_cpu_time():
    found = spent(lambda: time.sleep(0.05))
    assert found.wall_s >= 0.05
    assert found.cpu_s < 0.05


def test_a_stopwatch_sums_a_part_and_starts_anew(monkeypatch):
    clock = iter([0.0, 1.0, 5.0, 8.0])
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    stopwatch = Stopwatch()
    call = stopwatch.around("forward", lambda: None)
    call()
    call()
    assert stopwatch.take() == {"forward": 1.0 + 3.0}
    assert stopwatch.take() == {}


@pytest.mark.skipif(not timing.Path("/proc/self/clear_refs").exists(), reason="only Linux starts a peak anew")
def test_a_peak_that_is_forgotten_does_not_count():
    torch.ones(25_000_000)
    timing.forget_peak()
    before = timing.resident_bytes()
    assert timing.resident_bytes(peak=True) - before < 20e6
    torch.ones(25_000_000)
    assert timing.resident_bytes(peak=True) - before > 80e6


def test_a_table_has_a_column_per_key():
    assert markdown([{"n": 1, "s": 0.123456}]) == "| n | s |\n| --- | --- |\n| 1 | 0.1235 |"
