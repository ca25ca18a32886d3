"""`whet tune`: the table, the rule, and the line for a config."""

import pytest

from whet.training.tune import Timing, Tuning


@pytest.fixture
def measured(monkeypatch):
    """In place of a measurement: two threads are three times as fast as one."""

    def tune(config, on_timing=lambda timing: None):
        timings = (Timing(1, 0.5, 0.25, 1.5), Timing(2, 0.125, 0.09375, 0.5))
        for timing in timings:
            on_timing(timing)
        return Tuning(parameters=12_345, cores=2, updates=4, rule=1, timings=timings)

    monkeypatch.setattr("whet.training.tune.tune", tune)


@pytest.mark.usefixtures("measured")
def test_the_table_ends_with_the_line_for_a_config(whet):
    ended = whet("tune", "debug")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "threads     rollout      update        step",
        "      1     0.500 s     0.250 s     1.500 s",
        "      2     0.125 s     0.094 s     0.500 s",
        "",
        "a step: a rollout and 4 updates",
        "by the rule: 1 (12,345 parameters, 2 cores)",
        "fastest here: 2; to have it in a config:",
        "",
        "num_threads: 2",
    ]


@pytest.mark.usefixtures("measured")
def test_json_has_all_numbers(whet):
    found = whet("tune", "debug", "--json").json
    assert (found["rule"], found["fastest"], found["cores"], found["parameters"]) == (1, 2, 2, 12345)
    assert found["timings"][1] == {"threads": 2, "rollout_s": 0.125, "update_s": 0.09375, "step_s": 0.5}


@pytest.mark.parametrize("arguments", [("max_steps=3",), ("arithmetik",)])
def test_a_mistake_ends_before_anything_is_measured(whet, arguments):
    ended = whet("tune", *arguments)
    assert (ended.code, ended.out) == (2, "")
