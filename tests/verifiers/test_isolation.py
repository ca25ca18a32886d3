"""Where a verifier scores, and what becomes of one that hangs, dies or cannot be sent."""

from __future__ import annotations

import os
import time

import pytest

import whet
from whet.errors import Interrupted, SettingWarning
from whet.interfaces import Task, Verifier
from whet.rollouts.score import Scoring
from whet.types import Example, Score
from whet.verifiers import _isolation
from whet.verifiers._isolation import judged

REWARDS = """
import os, time

def here(text, answer):
    return float(os.getpid())

def where(text, answer):
    return float(len(os.getcwd()))

def hangs(text, answer):
    while text == "hang":
        pass
    return 1.0

def dies(text, answer):
    os._exit(1)

def dies_once(text, answer):
    if not os.path.exists(text):
        open(text, "w").close()
        os._exit(1)
    return 1.0

def naps(text, answer):
    time.sleep(0.3)
    return 1.0

def meets(text, answer):
    open(text, "w").close()
    until = time.monotonic() + 8
    while time.monotonic() < until and not (os.path.exists("one") and os.path.exists("two")):
        time.sleep(0.01)
    return float(time.monotonic() < until)

def raises(text, answer):
    raise KeyError("no such thing")

def column(text, answer, colour):
    return float(colour == "red")
"""
ROW = Example(id="e", prompt="p", answer="1", columns={"colour": "red"})


@pytest.fixture
def reward(tmp_path, monkeypatch):
    """A function of a file in the working directory, as a verifier."""
    (tmp_path / "mine.py").write_text(REWARDS)
    monkeypatch.chdir(tmp_path)
    return lambda name, **settings: whet.verifier(f"./mine.py:{name}", **settings)


def score(verifier: Verifier, text: str = "x", example: Example = ROW) -> Score:
    return judged(verifier, text, example.answer, example)


def test_a_function_scores_in_another_process_unless_told_otherwise(reward):
    assert score(reward("here")).value != os.getpid()
    assert score(reward("here", isolation="none")).value == os.getpid()


def test_a_worker_is_where_the_run_is_and_gets_columns(reward, tmp_path):
    assert score(reward("where")).value == len(str(tmp_path))
    assert score(reward("column")).value == 1.0


def test_one_that_is_late_has_status_timeout_and_the_next_is_scored(reward):
    hangs = reward("hangs", timeout_s=0.3)
    late = score(hangs, "hang")
    assert (late.status, late.detail) == ("timeout", "./mine.py:hangs: not done after 0.3 s (timeout_s)")
    assert score(hangs, "go").value == 1.0


def test_one_whose_worker_dies_twice_has_status_error_and_once_costs_nothing(reward, tmp_path):
    assert score(reward("dies")).status == "error"
    assert score(reward("dies_once"), str(tmp_path / "mark")).value == 1.0


def test_one_that_raises_has_status_error_with_the_place(reward):
    assert score(reward("raises")).detail == "KeyError: 'no such thing' (mine.py, line 36)"


def test_parts_of_a_combination_score_where_each_of_them_says(reward):
    parts = {"a": {"verifier": {"name": "./mine.py:here"}}, "b": {"verifier": "exact"}}
    found = score(whet.verifier("combine", parts=parts), "1")
    assert found.parts["b"] == 1.0
    assert found.parts["a"] not in (0.0, os.getpid())


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one worker for each core")
def test_scores_that_wait_are_made_side_by_side(reward):
    class Asks(Task):
        def load(self, split):
            return [ROW]

        def default_verifier(self):
            return reward("meets")

    with Scoring(Asks(name="asks")) as scoring:
        asked = [scoring.submit(ROW, text) for text in ("one", "two")]
        assert [scoring.result(score).value for score in asked] == [1.0, 1.0]


def test_what_cannot_be_sent_is_scored_here_with_one_warning(reward):
    _isolation._warn.cache_clear()
    locked = Example(id="e", prompt="p", answer="1", columns={"colour": "red", "lock": lambda: None})
    with pytest.warns(SettingWarning, match="cannot be sent to another process") as caught:
        assert score(reward("here"), example=locked).value == os.getpid()
        assert score(reward("here"), example=locked).value == os.getpid()
    assert len(caught) == 1


def test_a_verifier_without_a_name_is_scored_here_with_a_warning():
    class Mine(Verifier):
        def score(self, text, answer, example=None):
            return Score(value=float(os.getpid()))

    _isolation._warn.cache_clear()
    with pytest.warns(SettingWarning, match="Mine scores in the run's own process"):
        assert score(Mine(isolation="worker")).value == os.getpid()


def test_a_stop_does_not_wait_for_scores(reward):
    class Asks(Task):
        def load(self, split):
            return [ROW]

        def default_verifier(self):
            return reward("naps")

    with Scoring(Asks(name="asks"), should_stop=lambda: True) as scoring:
        asked = [scoring.submit(ROW, "x") for _ in range(20)]
        start = time.monotonic()
        with pytest.raises(Interrupted):
            scoring.result(asked[-1])
    assert time.monotonic() - start < 0.3
