"""What every task promises, run over each one that ships with whet."""

from pathlib import Path
from typing import Any

import pytest

from whet import registry
from whet.errors import DataError
from whet.interfaces import Task
from whet.text.questions import normalise_question
from whet.types import Example

FIXTURES = Path(__file__).parents[1] / "fixtures"
CODE = FIXTURES / "code"
SETTINGS = {
    "strategy_2048": {"num_train": 2, "num_test": 1, "verifier": {"name": "strategy_2048", "num_games": 1}},
    "calculator": {"num_train": 40, "num_test": 10},  # each call is a process
    "event_scheduling": {"path": FIXTURES / "event_scheduling"},
    "gsm8k": {"path": FIXTURES / "gsm8k"},
    "math": {"path": FIXTURES / "math"},
    "humaneval": {"path": CODE / "humaneval.jsonl", "train_path": CODE / "humaneval_train.jsonl"},
    "mbpp": {"path": CODE / "mbpp.jsonl", "train_path": CODE / "mbpp_train.jsonl"},
    "jsonl": {
        "path": FIXTURES / "gsm8k" / "train.jsonl",
        "test_path": FIXTURES / "gsm8k" / "test.jsonl",
        "prompt": "question",
        "demonstration": "answer",
        "verifier": "numeric",
    },
    "mixture": {"parts": {"sums": {"task": "arithmetic"}, "copies": {"task": "echo", "weight": 2}}},
}
NAMES = sorted({*registry.names("tasks")} - {"reasoning_gym", "verifiers_env"})  # an optional library
TURNS = {"calculator", "guess_number"}
"""Nobody shows how to play them, and the one has no answer before it is played."""


GRADED = {"strategy_2048"}
"""How well is all that there is: no value is full, and nothing is worth less than 0."""


def build(name: str, **settings: object) -> Task:
    return registry.build("tasks", {"name": name, **SETTINGS.get(name, {}), **settings})


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {name: build(name) for name in NAMES}


@pytest.fixture(params=sorted({*NAMES} - TURNS))
def shown(request) -> str:
    """A task with demonstrations."""
    return request.param


def both_splits(task: Task) -> list[Example]:
    return [*task.examples("train"), *task.examples("test")]


def test_ids_are_unique_over_both_splits(name: str, tasks: dict[str, Task]) -> None:
    ids = [example.id for example in both_splits(tasks[name])]
    assert len(set(ids)) == len(ids)


def test_no_question_is_asked_twice_in_either_split(name: str, tasks: dict[str, Task]) -> None:
    questions = [normalise_question(example.prompt) for example in both_splits(tasks[name])]
    assert len(set(questions)) == len(questions)


def test_gold_scores_full(shown: str, tasks: dict[str, Task]) -> None:
    values = {tasks[shown].score(e, e.demonstration or "").value for e in both_splits(tasks[shown])}
    assert values == {1.0} or (shown in GRADED and min(values) > 0)


@pytest.mark.parametrize("text", ["", " ", "wrong", "#### ", "-987654321"])
def test_empty_and_wrong_text_scores_nothing(name: str, text: str, tasks: dict[str, Task]) -> None:
    scores = [tasks[name].score(example, text) for example in tasks[name].examples("test")]
    assert {(score.value, score.status) for score in scores} == {(-3.0 if name in GRADED else 0.0, "ok")}


def test_the_prompt_itself_scores_nothing(name: str, tasks: dict[str, Task]) -> None:
    hits = [e for e in tasks[name].examples("test") if tasks[name].score(e, e.prompt).value > 0]
    # The last number of a GSM8K question is its answer now and then, as in any text.
    assert len(hits) <= (
        0 if name not in ("gsm8k", "jsonl", "word_problems") else len(tasks[name].examples("test")) / 5
    )


def test_every_example_has_an_answer_a_prompt_and_tags(shown: str, tasks: dict[str, Task]) -> None:
    for example in both_splits(tasks[shown]):
        assert example.prompt and example.answer and example.demonstration
        assert example.tags or shown in ("humaneval", "jsonl", "mbpp")


def test_the_same_settings_give_the_same_examples(name: str, tasks: dict[str, Task]) -> None:
    assert both_splits(build(name)) == both_splits(tasks[name])


def test_limit_takes_the_first_rows_of_each_split(name: str, tasks: dict[str, Task]) -> None:
    limited = build(name, limit=3)
    for split in ("train", "test"):
        assert list(limited.examples(split)) == list(tasks[name].examples(split)[:3])


def test_settings_survive_writing_and_reading(name: str, tasks: dict[str, Task]) -> None:
    assert registry.build("tasks", tasks[name].model_dump(mode="json")) == tasks[name]


def test_another_verifier_may_be_named(shown: str) -> None:
    task = build(shown, verifier={"name": "length", "target_length": 0, "max_length": 1})
    assert task.score(task.examples("test")[0], "too long").value == -0.5


class Mine(Task):
    """A task of somebody who returns what a JSON reader gives."""

    rows: list[Any] | dict[str, Any]

    def load(self, split):
        return self.rows

    def default_verifier(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [Example(id="1", prompt="a"), {"prompt": "a"}],
            r"mine.load\('train'\) gave {'prompt': 'a'} as its example 1",
        ),
        (
            {"prompt": ["a"]},
            r"mine.load\('train'\) gave {'prompt': \['a'\]}; expected a list of whet.Example",
        ),
        (
            [Example(id="1", prompt="a", answer=4)],
            "expected text in prompt and answer of '1', found 'a' and 4",
        ),
    ],
)
def test_a_task_that_loads_something_else_than_examples_is_named(rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Mine(name="mine", rows=rows).examples("train")
