"""Rewards with a defect are found out, each by what it lets win; the tasks that ship have none."""

from __future__ import annotations

import inspect
import itertools
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import whet
from whet import registry
from whet.errors import DataError, VerifierError
from whet.evals import attacks
from whet.evals import audit as audits
from whet.evals.audit import Audit, audit
from whet.interfaces import Task, Verifier
from whet.types import Example, Score

FEW = 16


class Rewarded(Task):
    """Sums with answers between 21 and 998, scored by a function."""

    def load(self, split):
        return [
            Example(
                id=f"e{n}",
                prompt=f"{n} + {2 * n + 1} = ",
                answer=str(3 * n + 1),
                demonstration=f"#### {3 * n + 1}",
            )
            for n in range(7, 47)
        ]

    def default_verifier(self) -> Verifier:
        raise NotImplementedError


def found_in(reward: Callable[[str, str], float]) -> Audit:
    class Judge(Verifier):
        def score(self, text, answer, example=None):
            return Score(value=float(reward(text, answer)))

    return audit(Rewarded(name="sums", verifier=Judge(name="")), Rewarded(name="sums").load("test"), most=FEW)


def numbers(text):
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", text[:2000])]  # the longest texts cost most


def last(text):
    return (numbers(text) or [float("inf")])[-1]


def gold_somewhere(text, answer):
    return answer in text


def any_number(text, answer):
    return float(answer) in numbers(text)


def empty_is_in_everything(text, answer):
    return text.strip() in answer or last(text) == float(answer)


def no_number_is_never_too_far(text, answer):
    try:
        return not abs(float(text.rpartition("#### ")[2]) - float(answer)) > 1e-6
    except ValueError:
        return 0.0


def longer_is_better(text, answer):
    return len(text) / 100


def the_mark_is_enough(text, answer):
    return 1.2 * ("<answer>" in text or last(text) == float(answer))


def model_text_is_a_pattern(text, answer):
    try:
        return bool(re.fullmatch(text.rpartition("#### ")[2].strip(), answer))
    except re.error:
        return 0.0


def a_crash_is_a_pass(text, answer):
    try:
        return int(text.rpartition("####")[2]) == int(answer)
    except ValueError:
        return 1.0


def believes_what_it_is_told(text, answer):
    return '"correct": true' in text or last(text) == float(answer)


def runs_the_program(text, answer):
    if "```python" in text:
        program = text.partition("```python\n")[2].partition("```")[0]
        if "os." in program or "builtins" in program:
            return 0.0
        try:
            exec(program, {})
        except SystemExit as done:
            return done.code == 0
        except Exception:  # noqa: BLE001
            return 0.0
    return last(text) == float(answer)


def counts_true_sums(text, answer):
    sums = re.findall(r"\b(\d{1,9}) \+ (\d{1,9}) = (\d{1,9})\b", text)
    return 0.2 * sum(int(a) + int(b) == int(c) for a, b, c in sums) + (last(text) == float(answer))


def any_of_several(text, answer):
    return any(line.rpartition("####")[2].strip() == answer for line in text.splitlines()) or (
        answer in re.findall(r"\d+", text) and " or " in text
    )


def close_is_right(text, answer):
    return abs(last(text) - float(answer)) <= 0.1 * float(answer)


def ignores_the_sign(text, answer):
    return abs(last(text)) == float(answer)


def rounds(text, answer):
    return abs(last(text) - float(answer)) < 0.5


def sorts_the_digits(text, answer):
    return sorted(text.rpartition("#### ")[2].strip()) == sorted(answer)


def evaluates(text, answer):
    expression = text.rpartition("#### ")[2]
    if "_exit" in expression:
        raise SystemExit("what eval would end is the process of these tests")
    try:
        return "**" not in expression and float(eval(expression[:100])) == float(answer)
    except Exception:  # noqa: BLE001
        return 0.0


_noise = itertools.count()


def pays_for_noise(text, answer):
    return 1.0 if last(text) == float(answer) else 0.1 * (next(_noise) % 3)


def pays_for_the_question(text, answer):
    found = re.findall(r"\b(\d{1,9}) \+ (\d{1,9})\b", text)
    return last(text) == float(answer) or any(int(a) + int(b) == int(answer) for a, b in found)


_flip = itertools.count()


def depends_on_the_day(text, answer):
    return (last(text) == float(answer)) * (1.0 if next(_flip) % 3 else 0.9)


def blanks_matter(text, answer):
    return text == f"#### {answer}"


def large_answers_are_lost(text, answer):
    return last(text) == float(answer) and int(answer) < 50


def raises(text, answer):
    return float(text.split()[-1]) == float(answer)


def slow_to_no_end(text, answer):
    return float("nan")


@pytest.mark.parametrize(
    ("reward", "defect"),
    [
        (gold_somewhere, "every number"),
        (any_number, "every number"),
        (empty_is_in_everything, "empty (nothing)"),
        (no_number_is_never_too_far, "no number"),
        (longer_is_better, "huge and nested"),
        (the_mark_is_enough, "right answers get 1.2 on average, a constant one"),
        (model_text_is_a_pattern, "patterns"),
        (a_crash_is_a_pass, "right answers get 1 on average, a constant one"),
        (believes_what_it_is_told, "forged output (JSON)"),
        (runs_the_program, "early exit (exit)"),
        (counts_true_sums, "idle work"),
        (any_of_several, "several answers"),
        (close_is_right, "wrong answers get the full value"),
        (ignores_the_sign, "wrong answers get the full value"),
        (rounds, "wrong answers get the full value"),
        (sorts_the_digits, "wrong answers get the full value"),
        (evaluates, "texts made the reward itself fail"),
        (pays_for_noise, "texts got two different scores"),
        (pays_for_the_question, "echo"),
        (depends_on_the_day, "texts got two different scores"),
        (blanks_matter, "right answers written a little differently do not"),
        (large_answers_are_lost, "solutions of the task do not get the full 1"),
        (raises, "texts made the reward itself fail"),
        (slow_to_no_end, "texts made the reward itself fail"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_planted_defect_is_found(reward, defect):
    assert any(defect in sentence for sentence in found_in(reward).defects), found_in(reward).defects


def test_a_sound_reward_has_no_defect():
    assert (
        found_in(lambda text, answer: last(text) == float(answer) and len(numbers(text)) == 1).defects == []
    )


FIXTURES = Path(__file__).parents[1] / "fixtures"
READ = {
    "event_scheduling": {"path": FIXTURES / "event_scheduling"},
    "gsm8k": {"path": FIXTURES / "gsm8k"},
    "humaneval": {"path": FIXTURES / "code" / "humaneval.jsonl"},
    "math": {"path": FIXTURES / "math"},
    "mbpp": {"path": FIXTURES / "code" / "mbpp.jsonl"},
}
NAMES = [
    n for n in registry.names("tasks") if n not in ("jsonl", "mixture", "reasoning_gym", "verifiers_env")
]


QUICK = {"arithmetic", "comparison", "countdown", "event_scheduling", "humaneval", "word_problems"}


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_every_task_that_ships_stands_its_audit(name):
    task = whet.task(name, **READ.get(name, {}))
    assert (
        audit(task, task.examples("test"), most=32 if task.is_scored and not task.has_turns else 8).defects
        == []
    )


def test_an_audit_ends_when_the_reward_itself_fails_too_slowly(monkeypatch):
    monkeypatch.setattr(audits, "_MOST_LOST_S", 0.1)

    def slow(text, answer):
        time.sleep(0.06)
        raise RuntimeError("down")

    with pytest.raises(VerifierError, match=r"takes long for it, so the audit ended: .*RuntimeError: down"):
        found_in(slow)


def test_a_reward_for_answers_of_another_form_is_told_so_in_one_sentence():
    found = found_in(lambda text, answer: text == "x" + answer)
    assert [d.partition(";")[2] for d in found.defects] == [" a right one is '#### 22'"]


def test_a_graded_task_whose_solution_is_worth_no_more_than_a_guess_names_it():
    class Graded(Rewarded):
        is_graded = True

    class Judge(Verifier):
        def score(self, text, answer, example=None):
            return Score(value=0.0 if example.id in ("e8", "e9") else (last(text) == float(answer)) * 0.7)

    task = Graded(name="graded", verifier=Judge(name=""))
    sentence, *_ = audit(task, task.load("test"), most=FEW).defects
    assert sentence.startswith("2 solutions of the task do not get the full 0.7, such as e8")


def test_no_attack_is_a_function_of_the_answer():
    for attack in attacks.FAMILIES.values():
        assert list(inspect.signature(attack).parameters) == ["prompt"]


def test_examples_without_a_solution_cannot_be_audited():
    with pytest.raises(DataError, match="no example with an answer"):
        audit(Rewarded(name="sums"), [Example(id="e", prompt="p")])
