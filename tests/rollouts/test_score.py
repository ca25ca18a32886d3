"""Scoring never turns a failure of ours into a zero, and never into a crash."""

import re

import pytest

from whet.errors import ConfigError, Interrupted, Terminated
from whet.interfaces import Task, Verifier
from whet.rollouts.score import score_text
from whet.types import Example, Score

EXAMPLE = Example(id="1", prompt="1+1=", answer="2")


class Odd(Verifier):
    """Raises what it holds, or returns it."""

    result: object

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


class Holder(Task):
    """A task around a verifier."""

    odd: Odd

    def load(self, split):
        return [EXAMPLE]

    def default_verifier(self) -> Verifier:
        return self.odd


@pytest.fixture(params=["verifier", "task"])
def scorer(request):
    return lambda result: (
        Odd(result=result) if request.param == "verifier" else Holder(odd=Odd(result=result))
    )


def test_a_score_is_passed_on(scorer) -> None:
    score = Score(value=0.5, detail="half")
    assert score_text(scorer(score), EXAMPLE, "2") is score


@pytest.mark.parametrize("error", [ValueError("bad"), RecursionError("deep"), MemoryError("full")])
def test_an_exception_is_an_error_with_its_type_and_message(scorer, error: Exception) -> None:
    score = score_text(scorer(error), EXAMPLE, "2")
    assert (score.status, score.value != score.value) == ("error", True)
    # and where: in a person's file that is the line to mend
    said = re.escape(f"{type(error).__name__}: {error}")
    assert re.fullmatch(rf"{said} \(test_score\.py, line \d+\)", score.detail)


def test_a_reward_that_exits_is_an_error_and_a_signal_that_ends_the_process_is_not_the_rewards(
    scorer,
) -> None:
    assert score_text(scorer(SystemExit(3)), EXAMPLE, "2").status == "error"
    with pytest.raises(Terminated):
        score_text(scorer(Terminated(143)), EXAMPLE, "2")


@pytest.mark.parametrize("result", [None, 1.0, "1", True])
def test_what_is_no_score_is_invalid(scorer, result: object) -> None:
    score = score_text(scorer(result), EXAMPLE, "2")
    assert (score.status, score.detail) == ("invalid", f"expected a Score, found {result!r}")


def test_a_long_message_is_cut(scorer) -> None:
    assert len(score_text(scorer(ValueError("x" * 10_000)), EXAMPLE, "2").detail.rpartition(" (")[0]) == 300


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("stop"), ConfigError("no verifier")])
def test_interruptions_and_config_errors_pass_through(scorer, error: BaseException) -> None:
    with pytest.raises(type(error)):
        score_text(scorer(error), EXAMPLE, "2")
