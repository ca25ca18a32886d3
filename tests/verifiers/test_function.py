"""Plain functions as verifiers."""

import textwrap
from pathlib import Path

import pytest

from whet import registry
from whet.errors import DataError
from whet.interfaces import Verifier
from whet.types import Example

SOURCE = """
    from whet.types import Score

    def plain(text, answer): return text == answer
    def number(text, answer): return len(text) / 2
    def with_example(text, answer, example): return len(example.prompt)
    def with_column(text, answer, hardness): return hardness * 2
    def with_default(text, answer, *, missing=7): return missing
    def parts(text, answer): return {"a": 1, "b": 0.5}
    def whole(text, answer): return Score(value=0.25, detail="so_so")
    def nothing(text, answer): pass
    def word(text, answer): return "1.0"
    def nan(text, answer): return float("nan")
    def infinite(text, answer): return {"a": 1, "b": float("inf")}
    def huge(text, answer): return 10**400
    def empty(text, answer): return {}
    def raising(text, answer): raise RuntimeError("no luck")
    def one_argument(text): return 1
    async def later(text, answer): return 1
"""
EXAMPLE = Example(id="1", prompt="abc", answer="x", columns={"hardness": 3})


@pytest.fixture
def verifier(tmp_path: Path):
    path = tmp_path / "my_reward.py"
    path.write_text(textwrap.dedent(SOURCE))

    def build(name: str) -> Verifier:
        return registry.build("verifiers", f"{path}:{name}")

    return build


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plain", 1.0),
        ("number", 0.5),
        ("with_example", 3.0),
        ("with_column", 6.0),
        ("with_default", 7.0),
        ("parts", 1.5),
        ("whole", 0.25),
    ],
)
def test_what_a_function_returns_is_the_score(verifier, name: str, value: float) -> None:
    score = verifier(name).score("x", "x", EXAMPLE)
    assert (score.value, score.status) == (value, "ok")


def test_a_dict_gives_named_parts(verifier) -> None:
    assert verifier("parts").score("x", "x").parts == {"a": 1.0, "b": 0.5}
    assert verifier("number").score("x", "x").parts == {}


def test_a_score_is_passed_on(verifier) -> None:
    assert verifier("whole").score("x", "x").detail == "so_so"


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("name", ["nothing", "word", "nan", "infinite", "huge", "empty", "later"])
def test_what_is_no_number_is_a_failure_and_not_a_zero(verifier, name: str) -> None:
    score = verifier(name).score("x", "x", EXAMPLE)
    assert (score.status, score.value != score.value) == ("invalid", True)
    assert f":{name} returned" in score.detail


def test_an_exception_is_raised_on(verifier) -> None:
    with pytest.raises(RuntimeError, match="no luck"):
        verifier("raising").score("x", "x", EXAMPLE)


def test_a_missing_column_is_named_with_those_there(verifier) -> None:
    with pytest.raises(DataError, match="asks for 'hardness'; the example has: colour, example"):
        verifier("with_column").score("x", "x", Example(id="1", prompt="a", columns={"colour": 1}))


def test_a_function_that_takes_no_answer_is_refused_at_once(verifier) -> None:
    with pytest.raises(ValueError) as caught:
        verifier("one_argument")
    assert "one_argument to take (text, answer) first" in str(caught.value.__cause__)


def test_the_name_in_the_config_is_enough_to_build_it_again(verifier) -> None:
    first = verifier("plain")
    assert registry.build("verifiers", first.model_dump(mode="json")) == first
