"""A tool in turns: calls are answered by values or by what is wrong with them, and the last answer is scored."""

import re

import pytest

from whet import registry
from whet.interfaces import Task
from whet.rollouts.episodes import replay
from whet.types import Example, Score, Turn

EXAMPLE = Example(id="1", prompt="What is 1234*5678?", answer="7006652")


def calculator(**settings) -> Task:
    return registry.build("tasks", {"name": "calculator", "num_train": 200, "num_test": 40, **settings})


@pytest.fixture(scope="module")
def task() -> Task:
    return calculator()


def said(task, text) -> Turn:
    return task.start(EXAMPLE, 0).step(text)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("1234*5678", "7006652"),
        (" 2 * (3+4) ", "14"),
        ("3-10", "-7"),
        ("22/7", "22/7"),
        ("84/7", "12"),
    ],
)
def test_a_call_is_answered_by_its_value(task, call, value):
    assert said(task, f"I ask: <calculator>{call}</calculator>") == Turn(observation=value)


def test_the_end_of_the_text_closes_a_call_whose_stop_string_was_cut(task):
    assert said(task, "<calculator>1+1").observation == "2"
    assert said(task, "<calculator>1+1</calculator> so <calculator>2*3").observation == "2\n6"


def test_several_calls_are_answered_line_by_line(task):
    text = "<calculator>1+1</calculator> and <calculator>2*</calculator>"
    assert said(task, text).observation == "2\nerror: it ends too early, or has too many numbers"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("<calculator>2**3</calculator>", "error: * stands where it cannot"),
        ("<calculator>1/0</calculator>", "error: a division by zero"),
        ("<calculator>__import__('os')</calculator>", "error: \"__import__('os')\" is neither a number"),
        ("<calculator></calculator>", "error: it ends too early"),
        ("<calculator>1+", "error: it ends too early"),
    ],
)
def test_a_call_that_cannot_be_read_is_answered_and_costs_nothing_but_its_turn(task, call, error):
    turn = said(task, call)
    assert turn.observation.startswith(error)
    assert (turn.done, turn.reward) == (False, 0.0)
    assert replay(task, EXAMPLE, 0, (call, "7006652"), "stop") == Score(value=1.0)


def test_an_answer_without_a_call_is_the_last_and_scored_by_the_verifier(task):
    assert said(task, "It is 7,006,652.") == Turn(done=True, score=Score(value=1.0))
    assert said(task, "7").score == Score(value=0.0, detail="wrong")


def test_calls_alone_earn_nothing(task):
    call = "<calculator>1234*5678</calculator>"
    assert replay(task, EXAMPLE, 0, (call,) * 4, "stop") == Score(value=0.0, detail="max_turns")


def test_another_verifier_judges_the_last_answer():
    task = calculator(verifier={"name": "length", "target_length": 0, "max_length": 1})
    assert said(task, "too long").score.value == -0.5


def test_a_verifier_that_fails_is_a_status():
    broken = Example(id="1", prompt="?", answer="")
    assert replay(calculator(), broken, 0, ("7",), "stop").status == "error"


def test_answers_are_the_values_of_the_questions(task):
    for example in task.examples("train"):
        (expression,) = re.findall(r"What is (\S+)\?", example.prompt)
        assert re.fullmatch(r"[0-9+*()-]+", expression)
        assert int(example.answer) == eval(expression)


def test_questions_have_the_operations_that_their_tag_says(task):
    for example in task.examples("train"):
        (expression,) = re.findall(r"What is (\S+)\?", example.prompt)
        assert len(re.findall(r"[+*-]", expression)) == int(example.tags["operations"])


def test_the_gold_answer_in_one_turn_is_worth_the_same(task):
    assert {task.score(e, e.answer).value for e in task.examples("test")} == {1.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_operations": 4}, "expected min_operations <= max_operations"),
        ({"prompt_format": "Compute."}, "expected a text with {expression}"),
    ],
)
def test_settings_that_make_no_question_are_refused(settings, message):
    with pytest.raises(registry.PluginProblems) as caught:
        calculator(**settings)
    assert message in str(caught.value.errors)


def test_every_error_can_be_written_by_a_tokenizer_of_the_tasks_texts(task):
    texts = [e.prompt + e.answer for e in task.examples("train")] + list(task.observed_texts())
    characters = set("".join(texts))
    calls = ["1//2", "1/0", "(1", "1)", "", "a'b", 'a"', "\n\\", "1" * 1001, "+".join("1" * 70)]
    said = "".join(
        task.start(EXAMPLE, 0).step(f"<calculator>{call}</calculator>").observation for call in calls
    )
    assert set(said) <= characters


def test_a_reward_of_ones_own_has_its_worker_and_its_deadline(tmp_path) -> None:
    (tmp_path / "slow.py").write_text("def score(text, answer):\n    while True: pass\n")
    task = calculator(verifier={"name": f"{tmp_path / 'slow.py'}:score", "timeout_s": 0.3})
    assert replay(task, EXAMPLE, 0, ["7006652"], "stop").status == "timeout"
