"""The generators of reasoning-gym: how questions are made, how answers are scored, and what is never evaluated."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from whet import registry
from whet.errors import ConfigError, DataError
from whet.interfaces import Task
from whet.sandbox import pool
from whet.tasks import _gym_worker
from whet.tasks.reasoning_gym import ReasoningGym, _made
from whet.text.questions import normalise_question, overlap
from whet.types import Example

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None, reason="needs the extra reasoning_gym"
)

NO_SOLUTION = {"boxnet", "rush_hour"}
"""Several answers are right, and the generator says none."""
_NAMES = (
    "binary_matrix countdown intermediate_integration n_queens polynomial_multiplication puzzle24 simple_integration "
    "spiral_matrix string_insertion"
)
EVALUATED = set(_NAMES.split())


def gym(dataset: str, **settings: Any) -> Task:
    return registry.build(
        "tasks", {"name": "reasoning_gym", "dataset": dataset, "num_train": 8, "num_test": 4, **settings}
    )


def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions and scores are made in this process, which saves the start of others."""
    monkeypatch.setattr(pool, "is_worker", lambda: True)
    monkeypatch.setattr(
        "whet.tasks.reasoning_gym._made",
        lambda dataset, settings, seed, train, test: _gym_worker.make(
            dataset, json.loads(settings), seed, {"train": train, "test": test}
        ),
    )


@needs_library
def test_questions_come_from_another_process_and_are_the_same_ones_here() -> None:
    found = _made("leg_counting", "{}", 0, 8, 4)
    assert found == _gym_worker.make("leg_counting", {}, 0, {"train": 8, "test": 4})
    assert [len(found["train"]), len(found["test"])] == [8, 4]


@needs_library
def test_the_example_has_the_question_its_answer_and_a_right_completion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here(monkeypatch)
    example = gym("leg_counting").examples("train")[0]
    entry = example.columns["entry"]
    assert example.prompt.startswith(entry["question"]) and "<answer>" in example.prompt
    assert int(example.answer) == entry["metadata"]["total_legs"]
    assert example.demonstration == f"<answer>{example.answer}</answer>"
    assert example.tags == {"dataset": "leg_counting"}


@needs_library
def test_train_and_test_share_no_question_whatever_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch)
    train = [e for seed in range(4) for e in gym("coin_flip", seed=seed, num_train=80).examples("train")]
    test = [e for seed in range(4) for e in gym("coin_flip", seed=seed, num_test=20).examples("test")]
    assert overlap(train, test) == []
    assert len({normalise_question(e.prompt) for e in train[:80]}) == 80


@needs_library
def test_the_settings_are_the_generators_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch)
    task = gym("leg_counting", settings={"min_animals": 2, "max_animals": 2})
    assert {e.columns["entry"]["metadata"]["num_animals"] for e in task.examples("train")} == {2}


@needs_library
@pytest.mark.parametrize(
    ("text", "value", "detail"),
    [
        ("hm\n<answer>GOLD</answer>", 1.0, ""),
        ("<answer>1</answer> no, <answer>\nGOLD\n</answer>", 1.0, ""),
        ("<answer>7</answer>", 0.0, "wrong"),
        ("<answer>= GOLD</answer>", 0.6, "partial"),  # the library's share: 3 characters of 5
        ("GOLD", 0.0, "no_answer"),
        ("<answer></answer>", 0.0, "no_answer"),
        ("", 0.0, "no_answer"),
    ],
)
def test_the_last_answer_is_what_the_scorer_gets(
    text: str, value: float, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch)
    task = gym("leg_counting")
    example = task.examples("test")[0]
    score = task.score(example, text.replace("GOLD", example.answer))
    assert (score.value, score.status, score.detail) == (value, "ok", detail)


@needs_library
def test_the_whole_text_may_be_what_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch)
    task = gym("leg_counting", extract="text")
    example = task.examples("test")[0]
    assert task.score(example, f" {example.answer}\n").value == 1.0
    assert example.demonstration == example.answer


@needs_library
@pytest.mark.parametrize(
    ("dataset", "settings", "message"),
    [
        (
            "leg_count",
            {},
            "there is no 'leg_count' among the generators of reasoning_gym. Did you mean leg_counting?",
        ),
        ("composite", {}, "write a mixture of tasks, with a generator each"),
        ("leg_counting", {"min_animal": 2}, "is not a setting of leg_counting. Did you mean min_animals?"),
        (
            "leg_counting",
            {"seed": 2},
            "is not a setting of leg_counting. .*seed, num_train and num_test stand beside",
        ),
        (
            "leg_counting",
            {"min_animals": 0},
            "task.settings do not fit leg_counting: min_animals must be positive",
        ),
        ("coin_flip", {"max_trials": 3}, "coin_flip has too few different questions .* found"),
    ],
)
def test_what_is_no_generator_or_no_setting_of_it_is_named(
    dataset: str, settings: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _gym_worker.make(dataset, settings, 0, {"train": 100, "test": 100})


def test_without_the_library_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    _gym_worker._dataset.cache_clear()
    with pytest.raises(ConfigError, match="needs the package reasoning-gym: pip install reasoning-gym"):
        _gym_worker.make("leg_counting", {}, 0, {"train": 1, "test": 1})


def test_a_completion_without_its_question_is_no_score() -> None:
    with pytest.raises(DataError, match="give the example"):
        ReasoningGym(dataset="leg_counting").default_verifier().score("7", "7")


# --- what a scorer does with a text: with a stand-in for its generator ---

ENTRY = {"question": "1+1?", "answer": "2", "metadata": {}}
ROW = Example(id="x/1", prompt="1+1?", answer="2", columns={"entry": ENTRY})


def scored(monkeypatch: pytest.MonkeyPatch, scorer: Any, text: str) -> Any:
    monkeypatch.setattr(pool, "is_worker", lambda: True)
    monkeypatch.setattr(_gym_worker, "_dataset", lambda *_: SimpleNamespace(score_answer=scorer))
    monkeypatch.setattr(_gym_worker, "_source_of", lambda _: "")
    return gym("x", extract="text").default_verifier().score(text, "2", ROW)


def picky(answer: str, entry: Any) -> float:
    entry.clear()  # a scorer may spoil what it is given
    return {"2": 1.0}[answer]


def test_a_scorer_that_raises_on_a_text_and_not_on_a_right_answer_gives_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score = scored(monkeypatch, picky, "two")
    assert (score.value, score.status, score.detail) == (0.0, "ok", "raised")
    assert scored(monkeypatch, picky, "2").value == 1.0
    assert ENTRY["answer"] == "2"


def test_a_scorer_that_raises_on_a_right_answer_too_is_a_failure_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(KeyError):
        scored(monkeypatch, lambda answer, entry: {}[answer], "two")


def test_a_value_that_is_no_number_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scored(monkeypatch, lambda answer, entry: float("nan"), "two").status == "invalid"


class Late:
    """A pool whose workers are killed over some texts."""

    def __init__(self, error: type[Exception], *over: str) -> None:
        self.error, self.over = error, over

    def call(self, function: str, *args: Any, timeout_s: float, memory_mb: int) -> dict[str, Any]:
        if args[-1] in self.over:
            raise self.error("not done")
        return {"value": 1.0, "detail": ""}


@pytest.mark.parametrize(
    ("error", "over", "status", "detail"),
    [
        (pool.WorkerTimeout, ("9**9**9",), "ok", "too_slow"),
        (pool.WorkerLost, ("9**9**9",), "ok", "worker_lost"),
        (pool.WorkerTimeout, ("9**9**9", "2"), "timeout", "x: no score after 20 s"),
        (pool.WorkerLost, ("9**9**9", "2"), "error", "x: not done"),
    ],
)
def test_a_deadline_is_the_texts_fault_when_a_right_answer_keeps_it(
    error: type[Exception], over: tuple[str, ...], status: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "shared", lambda: Late(error, *over))
    score = gym("x", extract="text").default_verifier().score("9**9**9", "2", ROW)
    assert (score.status, score.detail) == (status, detail)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "(1).__class__",
        "().__class__.__mro__",
        "open('x')",
        "exec(x)",
        "lambdify((x), x)",
        "S('open')",
        "[i for i in (1, 2)]",
        "x.y",
        "1 .real",
        "f'{1}'",
        "print(1)",
        "a := 1",
        "24; 1",
    ],
)
def test_a_text_that_does_more_than_mathematics_is_not_evaluated(text: str) -> None:
    assert not _gym_worker.is_harmless(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7*(25-3)",
        "3.5*x**2 - sin(x)/2 + C",
        "[['1', 2], [3]]",
        "-(1/2)",
        "x^2",
        "{0: 1}",
        "ABCAD",
        "_ Q\nQ _",
    ],
)
def test_a_formula_a_literal_or_words_are_evaluated(text: str) -> None:
    assert _gym_worker.is_harmless(text)


@pytest.mark.parametrize("piece", ["9", "9.", "x", "sin", "(", "[", "1,", "-", " "])
def test_a_hostile_text_costs_no_square(piece: str) -> None:
    start = time.process_time()
    _gym_worker.is_harmless(piece * 100_000 + "!")
    assert time.process_time() - start < 2.0


# --- over all generators ---


@pytest.mark.slow
@needs_library
def test_every_generator_scores_a_right_answer_full_but_two_that_say_none() -> None:
    from reasoning_gym.factory import DATASETS

    short = {}
    for name in sorted({*DATASETS} - {"composite"}):
        for entry in _gym_worker.make(name, {}, 0, {"train": 2, "test": 1})["train"]:
            gold = _gym_worker.gold_of(name, entry)
            value = None if gold is None else _gym_worker.score(name, {}, 0, entry, gold)["value"]
            short.update({} if value == 1.0 else {name: value})
    assert short == dict.fromkeys(NO_SOLUTION)


@pytest.mark.slow
@needs_library
def test_the_scorers_that_evaluate_answers_are_known() -> None:
    from reasoning_gym.factory import DATASETS

    names = sorted({*DATASETS} - {"composite"})
    found = {name for name in names if _gym_worker.evaluates(_gym_worker._dataset(name, "{}", 0, 10))}
    assert found == EVALUATED


@pytest.mark.slow
@needs_library
@pytest.mark.parametrize("dataset", sorted(EVALUATED))
def test_no_text_of_a_model_is_run(dataset: str, tmp_path: Any) -> None:
    entry = _gym_worker.make(dataset, {}, 0, {"train": 1, "test": 1})["train"][0]
    trace = tmp_path / "trace"
    for text in (
        f"open({str(trace)!r}, 'w')",
        f"[open({str(trace)!r}, 'w')]",
        f"S(\"open({str(trace)!r}, 'w')\")",
    ):
        assert _gym_worker.score(dataset, {}, 0, entry, text)["value"] == 0.0
    assert not trace.exists()


@pytest.mark.slow
@needs_library
@pytest.mark.parametrize(
    "dataset",
    ["isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder"],
)
def test_questions_do_not_depend_on_the_hash_seed_of_the_run(dataset: str) -> None:
    code = f"from whet.tasks.reasoning_gym import _made; print(_made({dataset!r}, '{{}}', 0, 2, 1))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


@pytest.mark.slow
@needs_library
def test_a_worker_scores_and_one_that_hangs_is_killed() -> None:
    task = gym("countdown", timeout_s=10)
    example = task.examples("test")[0]
    assert task.score(example, example.demonstration or "").value == 1.0
    score = task.score(example, "<answer>9**9**9</answer>")
    assert (score.value, score.status, score.detail) == (0.0, "ok", "too_slow")
