"""Conditions and signals that end a run."""

import os
import signal
from typing import cast

import pytest

from whet import registry
from whet.errors import ConfigError
from whet.interfaces import Algorithm
from whet.training.finish import rewards_differ
from whet.training.stop import Condition, StopSignal


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("reward/mean >= 0.5", 0.5, True),
        ("reward/mean >= 0.5", 0.4999, False),
        ("reward/mean > 0.5", 0.5, False),
        ("reward/mean > .5", 0.6, True),
        ("reward/mean <= 1e-3", 0.001, True),
        ("reward/mean < -1", -1.0, False),
        ("reward/mean<-1", -1.5, True),
        ("  reward/mean   >=   +2  ", 2.0, True),
    ],
)
def test_a_condition_compares_the_metric_with_its_bound(text: str, value: float, holds: bool) -> None:
    assert Condition(text).holds({"reward/mean": value}, "echo") is holds


def test_a_metric_that_is_not_there_holds_nothing() -> None:
    assert not Condition("reward/mean < 1").holds({}, "echo")


def test_eval_stands_for_the_task_of_the_evaluation() -> None:
    metrics = {"eval/echo/pass@1": 0.9, "eval/other/pass@1": 0.1}
    assert Condition("eval/pass@1 >= 0.9").holds(metrics, "echo")
    assert not Condition("eval/pass@1 >= 0.9").holds(metrics, "other")
    assert Condition("eval/other/pass@1 <= 0.1").holds(metrics, "echo")


@pytest.mark.parametrize(
    "text", ["", "reward/mean", "reward/mean = 1", "reward/mean >= high", "reward/mean >= 1-", "> 1"]
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"stop\.when"):
        Condition(text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_turns_the_stop_true_and_the_next_one_is_the_systems(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert stop.number == number
        assert signal.getsignal(number) == before


def test_afterwards_signals_are_as_before() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopSignal():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize(
    ("algorithm", "metrics", "differ"),
    [
        # With a group baseline and no KL in the reward, advantages speak for themselves.
        ({"name": "dr_grpo"}, {"reward/mean": 1.0, "reward/max": 1.0}, True),
        # A KL penalty keeps advantages from zero although every reward is the same.
        ({"name": "rloo", "beta": 0.1}, {"reward/mean": 1.0, "reward/max": 1.0}, False),
        ({"name": "rloo", "beta": 0.1}, {"reward/mean": 0.5, "reward/max": 1.0}, True),
        ({"name": "reinforce"}, {"reward/mean": 0.0, "reward/max": 0.0}, False),
        ({"name": "reinforce"}, {}, False),
    ],
)
def test_a_penalty_alone_is_no_signal(
    algorithm: dict[str, object], metrics: dict[str, float], differ: bool
) -> None:
    built = cast(Algorithm, registry.build("algorithms", algorithm))
    assert rewards_differ(metrics, built) is differ
