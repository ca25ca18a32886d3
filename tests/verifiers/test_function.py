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
    def misspelt(text, answer, hardnes): return 1
    def tensor(text, answer): import torch; return torch.tensor(0.75)

    def by_trl(completions, hardness, **columns): return [len(completions[0]) + hardness[0]]
    def trl_alone(completions): return [0.5]
    def trl_all(prompts, completions, **columns): return [len(columns)]
    def trl_last(completions, **columns): return [float(completions[0][-1]["content"] == "x")]
    def trl_asked(prompts, completions, **columns): return [prompts[0][0]["role"] == "user"]
    def trl_skips(completions, **columns): return [None]
    def trl_two(completions, **columns): return [1.0, 2.0]
    def trl_number(completions, **columns): return 1.0
    def trl_none(completions, **columns): pass
    def trl_word(completions, **columns): return ["1.0"]
    def trl_answer(completions, answer, **columns): return [float(a == c) for a, c in zip(answer, completions)]
    def trl_tensor(completions, **columns): import torch; return torch.tensor([0.25])
    def trl_missing(completions, solution): return [1.0]

    def compute_score(data_source, solution_str, ground_truth, extra_info=None):
        return (solution_str == ground_truth) + (data_source == "sums") + len(extra_info)
    def verl_dict(data_source, solution_str, ground_truth, extra_info=None, **more):
        return {"score": 0.5, "acc": True, "pred": solution_str}
    def verl_scoreless(solution_str, ground_truth): return {"acc": True}
    def verl_nan(solution_str, ground_truth): return {"score": float("nan")}
    def verl_default(solution_str, ground_truth, score=1.0): return score
    async def later(text, answer): return 1
    async def trl_later(completions, **columns): return [1.0]
    def swapped(answer, text): return 1
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
@pytest.mark.parametrize("name", ["nothing", "word", "nan", "infinite", "huge", "empty"])
def test_what_is_no_number_is_a_failure_and_not_a_zero(verifier, name: str) -> None:
    score = verifier(name).score("x", "x", EXAMPLE)
    assert (score.status, score.value != score.value) == ("invalid", True)
    assert f":{name} returned" in score.detail


def test_an_exception_is_raised_on(verifier) -> None:
    with pytest.raises(RuntimeError, match="no luck"):
        verifier("raising").score("x", "x", EXAMPLE)


def test_a_missing_column_is_named_with_those_there(verifier) -> None:
    with pytest.raises(
        DataError, match=r"my_reward.py:with_column asks for the column 'hardness'; there are: colour$"
    ):
        verifier("with_column").score("x", "x", Example(id="1", prompt="a", columns={"colour": 1}))


def test_a_function_that_takes_no_answer_is_refused_at_once(verifier) -> None:
    with pytest.raises(ValueError) as caught:
        verifier("one_argument")
    assert "one_argument to take (text, answer) first" in str(caught.value.__cause__)


def test_the_name_in_the_config_is_enough_to_build_it_again(verifier) -> None:
    first = verifier("plain")
    assert registry.build("verifiers", first.model_dump(mode="json")) == first


def test_a_misspelt_column_is_guessed(verifier) -> None:
    with pytest.raises(
        DataError, match=r"asks for the column 'hardnes'; there are: hardness. Did you mean hardness"
    ):
        verifier("misspelt").score("x", "x", EXAMPLE)


def test_a_tensor_with_one_number_is_a_number(verifier) -> None:
    assert verifier("tensor").score("x", "x").value == 0.75
    assert verifier("trl_tensor").score("x", "x").value == 0.25


# --- functions written for other tools ---

CHAT = Example(id="1", prompt="abc", answer="x", messages=({"role": "user", "content": "abc"},))


@pytest.mark.parametrize(
    ("name", "example", "value"),
    [
        ("by_trl", EXAMPLE, 4.0),  # one letter, hardness 3
        ("trl_alone", EXAMPLE, 0.5),
        ("trl_all", EXAMPLE, 3.0),  # answer, hardness and example
        ("trl_answer", EXAMPLE, 1.0),
        ("trl_last", CHAT, 1.0),
        ("trl_asked", CHAT, 1.0),
    ],
)
def test_a_reward_of_trl_gets_lists_and_gives_a_list(
    verifier, name: str, example: Example, value: float
) -> None:
    score = verifier(name).score("x", "x", example)
    assert (score.value, score.status) == (value, "ok")


def test_a_column_comes_before_the_answer_of_that_name(verifier) -> None:
    example = Example(id="1", prompt="abc", answer="x", columns={"answer": "a long way to x"})
    assert verifier("trl_answer").score("x", "x", example).value == 0.0


def test_a_reward_of_trl_that_gives_none_skips_the_completion(verifier) -> None:
    score = verifier("trl_skips").score("x", "x", EXAMPLE)
    assert (score.status, score.is_failure, score.value != score.value) == ("skipped", False, True)


@pytest.mark.parametrize(
    "name", ["trl_two", "trl_number", "trl_none", "trl_word", "verl_scoreless", "verl_nan"]
)
def test_what_is_no_number_is_a_failure_there_too(verifier, name: str) -> None:
    score = verifier(name).score("x", "x", EXAMPLE)
    assert score.status == "invalid"
    assert f":{name} returned" in score.detail


def test_a_reward_of_trl_that_asks_for_what_is_not_there_says_what_is(verifier) -> None:
    with pytest.raises(
        DataError, match=r"asks for the column 'solution'; there are: answer, hardness, prompts, compl"
    ):
        verifier("trl_missing").score("x", "x", EXAMPLE)


def test_a_reward_of_verl_gets_its_four_values(verifier) -> None:
    example = Example(id="1", prompt="p", answer="x", columns={"data_source": "sums", "extra_info": {"a": 1}})
    assert verifier("compute_score").score("x", "x", example).value == 3.0  # right, sums, one entry
    assert verifier("compute_score").score("y", "x").value == 0.0


def test_the_score_of_a_dict_of_verl_is_the_value_and_other_numbers_are_parts(verifier) -> None:
    score = verifier("verl_dict").score("x", "x", EXAMPLE)
    assert (score.value, dict(score.parts)) == (0.5, {"acc": 1.0})


def test_a_column_does_not_replace_the_default_of_a_reward_of_verl(verifier) -> None:
    example = Example(id="1", prompt="p", answer="x", columns={"score": 77})
    assert verifier("verl_default").score("x", "x", example).value == 1.0


@pytest.mark.parametrize("name", ["later", "trl_later"])
def test_an_async_function_is_refused_at_once(verifier, name: str) -> None:
    with pytest.raises(ValueError) as caught:
        verifier(name)
    assert f":{name} is async" in str(caught.value.__cause__)


def test_text_and_answer_the_other_way_round_are_refused(verifier) -> None:
    with pytest.raises(ValueError) as caught:
        verifier("swapped")
    assert "swapped to take (text, answer) first" in str(caught.value.__cause__)
