"""What the generated tasks share, and each one's answers against an independent calculation."""

import re
import time

import pytest

from whet import registry
from whet.errors import ConfigError
from whet.interfaces import Task
from whet.tasks._generated import GeneratedTask

GENERATED = [n for n in registry.names("tasks") if issubclass(registry.load("tasks", n), GeneratedTask)]


def build(name: str, **settings: object) -> Task:
    return registry.build("tasks", {"name": name, **settings})


@pytest.mark.parametrize("name", GENERATED)
def test_the_sizes_are_those_asked_for(name: str) -> None:
    task = build(name, num_train=70, num_test=11)
    assert (len(task.examples("train")), len(task.examples("test"))) == (70, 11)
    task = build(name)
    assert (len(task.examples("train")), len(task.examples("test"))) == (2000, 500)


@pytest.mark.parametrize("name", GENERATED)
def test_a_question_is_on_the_same_side_whatever_the_sizes(name: str) -> None:
    few, many = build(name, num_train=50, num_test=200), build(name)
    assert not {e.prompt for e in few.examples("test")} & {e.prompt for e in many.examples("train")}
    assert not {e.prompt for e in many.examples("test")} & {e.prompt for e in few.examples("train")}


@pytest.mark.parametrize("name", GENERATED)
def test_a_larger_size_keeps_the_first_examples(name: str) -> None:
    few, many = build(name, num_train=50, num_test=20), build(name)
    assert few.examples("train") == many.examples("train")[:50]
    assert few.examples("test") == many.examples("test")[:20]


@pytest.mark.parametrize("name", GENERATED)
def test_examples_are_made_once_and_quickly(name: str) -> None:
    task = build(name)
    start = time.process_time()
    first = task.examples("train")
    assert time.process_time() - start < 1.0  # 0.05 to 0.2 s measured
    assert task.load("train")[0] is first[0]


def test_too_few_problems_is_an_error_with_the_possible_sizes() -> None:
    with pytest.raises(ConfigError, match=r"num_train 2000 and num_test 500, found \d+ and \d+") as caught:
        build("arithmetic", max_operand=9).examples("train")
    train, test = map(int, re.findall(r"found (\d+) and (\d+)", str(caught.value))[0])
    assert train + test == 100  # 10 x 10 operands
    task = build("arithmetic", max_operand=9, num_train=train, num_test=test)
    assert len({e.prompt for e in [*task.examples("train"), *task.examples("test")]}) == 100


def calculation(prompt: str) -> str:
    a, op, b = re.fullmatch(r"(-?\d+)([-+*/])(-?\d+)=", prompt).groups()
    if op == "/":
        assert int(a) % int(b) == 0
    return str(eval(f"({a}){op if op != '/' else '//'}({b})"))


@pytest.mark.parametrize("signs", [False, True])
def test_arithmetic_answers_are_right(signs: bool) -> None:
    task = build("arithmetic", operations=("+", "-", "*", "/"), signs=signs, num_train=800, num_test=100)
    examples = task.examples("train")
    assert all(e.answer == e.demonstration == calculation(e.prompt) for e in examples)
    assert {e.tags["operation"] for e in examples} == {"add", "sub", "mul", "div"}
    assert any(e.answer.startswith("-") for e in examples) is signs


def test_arithmetic_asks_for_two_numbers_below_a_hundred_unless_told_otherwise() -> None:
    task = build("arithmetic")
    assert all(re.fullmatch(r"\d{1,2}\+\d{1,2}=", e.prompt) for e in task.examples("train"))
    assert {e.tags["difficulty"] for e in task.examples("train")} == {"1-digit", "2-digit"}


def test_arithmetic_keeps_both_orders_of_a_sum_on_one_side() -> None:
    task = build("arithmetic", operations=("+", "*"), max_operand=20, num_train=600, num_test=150)
    flipped = {re.sub(r"(\d+)(.)(\d+)", r"\3\2\1", e.prompt) for e in task.examples("test")}
    assert not flipped & {e.prompt for e in task.examples("train")}


def test_arithmetic_writes_its_prompt_as_told() -> None:
    task = build("arithmetic", prompt_format="What is {a} {op} {b}? ", num_train=1, num_test=1)
    assert re.fullmatch(r"What is \d+ \+ \d+\? ", task.examples("train")[0].prompt)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("arithmetic", {"prompt_format": "{a}+{b}="}),
        ("arithmetic", {"min_operand": 5, "max_operand": 4}),
        ("arithmetic", {"operations": ["/"], "max_operand": 0}),
        ("arithmetic", {"operations": []}),
        ("arithmetic", {"operations": ["%"]}),
        ("echo", {"min_length": 3, "max_length": 2}),
        ("echo", {"alphabet": "ab="}),
        ("pattern", {"alphabet": "a b"}),
        ("pattern", {"min_period": 5}),
        ("counting", {"alphabet": "a1"}),
        ("counting", {"min_length": 99}),
        ("comparison", {"min_operand": 99}),
        ("base_conversion", {"conversions": [(10, 10)]}),
        ("base_conversion", {"conversions": [(10, 17)]}),
        ("logic", {"min_operators": 9}),
        ("word_problems", {"max_number": 1}),
        ("countdown", {"min_numbers": 5}),
        ("countdown", {"max_target": 100}),
        ("countdown", {"prompt_format": "{numbers}"}),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        build(name, **settings)


def test_echo_asks_for_the_letters_again() -> None:
    assert all(
        e.prompt == f"{e.answer}=" and 2 <= len(e.answer) <= 5 for e in build("echo").examples("train")
    )


def test_pattern_shows_two_periods_and_asks_what_follows() -> None:
    for e in build("pattern").examples("train"):
        shown, period = e.prompt.removesuffix(">"), int(e.tags["period"])
        whole = shown + e.answer
        assert len(shown) >= 2 * period and len(e.answer) == 3
        assert all(whole[i] == whole[i - period] for i in range(period, len(whole)))


def test_counting_counts() -> None:
    task = build("counting", units=("letters", "words"), num_train=600, num_test=100)
    seen = set()
    for e in task.examples("train"):
        what, text = re.fullmatch(r"(\w+) in (.*)=", e.prompt).groups()
        expected = len(text.split()) if what == "words" else sum(letter == what for letter in text)
        assert e.answer == str(expected)
        seen.add((e.tags["unit"], what == "words"))
    assert seen == {("letters", False), ("words", True)}


def test_comparison_compares() -> None:
    task = build("comparison", operators=("<", ">", "="), min_operand=-50, num_train=1500)
    for e in task.examples("train"):
        assert e.answer == ("yes" if eval(e.prompt.rstrip("?").replace("=", "==")) else "no")


def test_yes_and_no_are_equally_frequent_in_comparison() -> None:
    examples = build("comparison").examples("train")
    assert 900 < sum(e.answer == "yes" for e in examples) < 1080  # 990 expected, 4 standard deviations are 89


def test_comparison_keeps_all_questions_about_two_numbers_on_one_side() -> None:
    task = build("comparison")
    pairs = [
        {frozenset(re.findall(r"\d+", e.prompt)) for e in task.examples(split)} for split in ("train", "test")
    ]
    assert not pairs[0] & pairs[1]


def test_base_conversion_keeps_the_value_and_writes_no_leading_zero() -> None:
    task = build("base_conversion", conversions=((10, 2), (2, 10), (10, 16), (16, 3)), num_train=900)
    for e in task.examples("train"):
        digits, source, target = re.fullmatch(r"(\w+) base (\d+) to (\d+)=", e.prompt).groups()
        assert int(digits, int(source)) == int(e.answer, int(target))
        assert e.answer == "0" or not e.answer.startswith("0")
    assert {e.tags["conversion"] for e in task.examples("train")} == {
        "10 to 2",
        "2 to 10",
        "10 to 16",
        "16 to 3",
    }


def test_logic_answers_are_what_python_says() -> None:
    task = build("logic", operators=("and", "or", "xor"), max_operators=6)
    for e in task.examples("train"):
        text = e.prompt.rstrip("=").replace("true", "True").replace("false", "False")
        text = text.replace("not True", "(not True)").replace("not False", "(not False)").replace("xor", "!=")
        assert e.answer == str(bool(eval(text))).lower(), e.prompt
        assert int(e.tags["operators"]) == len(re.findall(r"\b(?:and|or|xor)\b", e.prompt))


def test_word_problems_show_calculations_that_hold_and_end_in_the_answer() -> None:
    for e in build("word_problems").examples("train"):
        *steps, last = e.demonstration.strip().split("\n")
        for step in steps:
            left, right = step.split("=")
            assert eval(left) == int(right)
        assert last == f"#### {e.answer}" and steps[-1].endswith(f"={e.answer}")
        assert int(e.tags["steps"]) == len(steps)


@pytest.mark.parametrize(
    ("question", "solve"),
    [
        (r"has (\d+) \w+ and finds (\d+) more", lambda a, b: a + b),
        (r"had (\d+) \w+ and gave away (\d+)", lambda a, b: a - b),
        (r"fills (\d+) boxes with (\d+)", lambda a, b: a * b),
        (r"shares (\d+) \w+ among (\d+) friends", lambda a, b: a // b),
        (r"buys (\d+) bags of (\d+) \w+ and finds (\d+) more", lambda a, b, c: a * b + c),
        (r"has (\d+) \w+, gets (\d+) more and then loses (\d+)", lambda a, b, c: a + b - c),
        (r"has (\d+) \w+ and a friend has (\d+). Each wins (\d+)", lambda a, b, c: a + b + 2 * c),
        (r"sells (\d+) \w+ at (\d+) dollars each and pays (\d+)", lambda a, b, c: a * b - c),
    ],
)
def test_word_problems_are_solved_as_their_story_says(question: str, solve) -> None:
    found = [(re.search(question, e.prompt), e.answer) for e in build("word_problems").examples("train")]
    answers = [(solve(*map(int, m.groups())), int(answer)) for m, answer in found if m]
    assert len(answers) > 100  # 2,000 / 8 stories
    assert all(expected == answer for expected, answer in answers)


def test_a_question_that_comes_again_in_other_letters_changes_nothing() -> None:
    few = build("echo", alphabet="aAbBcC", max_length=3, num_train=5, num_test=1).examples("train")
    many = build("echo", alphabet="aAbBcC", max_length=3, num_train=20, num_test=1).examples("train")
    assert few == many[:5]
