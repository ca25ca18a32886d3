"""The questions about 2048, and the settings of the job on gpt-oss."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import whet
from checkpoints import example
from whet import shipped
from whet.errors import ConfigError
from whet.functional.statistics import confidence_interval
from whet.training.preflight import preflight


def test_training_and_test_play_different_games():
    task = whet.task("strategy_2048", num_train=20, num_test=20)
    games = [{e.columns["game"] for e in task.examples(split)} for split in ("train", "test")]
    assert [len(g) for g in games] == [20, 20] and not games[0] & games[1]


def test_the_solution_that_is_shown_plays_better_than_random_moves():
    task = whet.task("strategy_2048", num_test=5)
    values = [task.score(e, e.demonstration).parts["strategy_succeeds"] for e in task.examples("test")]
    assert confidence_interval(values, range(5)).low > 0


def test_the_solution_that_is_shown_wins_on_the_compatible_board():
    task = whet.task("strategy_2048", mode="compatible", num_test=2)
    assert {task.score(e, e.demonstration).value for e in task.examples("test")} == {22.0}


def test_the_question_is_about_the_board_that_is_played_on():
    task = whet.task("strategy_2048", verifier={"name": "strategy_2048", "size": 5})
    assert "a board of 5 x 5" in task.examples("test")[0].prompt


def test_a_verifier_of_another_mode_than_the_task_is_refused():
    with pytest.raises(
        ConfigError, match=r"mode and form of the task \(graded, program\) to be those of its"
    ):
        whet.task("strategy_2048", verifier={"name": "strategy_2048", "mode": "compatible"})


def test_a_prompt_that_does_not_tell_games_apart_is_refused():
    with pytest.raises(ConfigError, match=r"expected a text with \{game\}"):
        whet.task("strategy_2048", prompt_format="Play.")


@pytest.fixture
def gpt_oss() -> dict[str, Any]:
    return yaml.safe_load(shipped.path_of("strategy_2048_gpt_oss").read_text())


def test_the_settings_of_the_job_on_gpt_oss_are_those_that_it_had(gpt_oss):
    assert gpt_oss["policy"]["quantization"] == "4bit"
    assert gpt_oss["policy"]["lora"]["r"] == 4
    assert gpt_oss["policy"]["context_length"] == 182 + 586 == 768
    assert gpt_oss["batch"]["num_generations"] == 2
    assert gpt_oss["optimizer"]["learning_rate"] == 5e-5
    whet.load_config([gpt_oss])


@pytest.mark.slow  # it imports peft and transformers
def test_the_job_on_gpt_oss_can_begin_with_a_dense_checkpoint(gpt_oss, tmp_path):
    example().write(
        tmp_path, "qwen2", example().own_texts(), 0, vocab_size=384, width=32, layers=1, heads=4, context=1024
    )
    del gpt_oss["prompt"]  # reasoning_effort is gpt-oss's own
    gpt_oss["policy"] |= {"model": str(tmp_path), "quantization": None, "context_length": 1000}
    gpt_oss["sampling"]["max_prompt_length"] = 414  # of letters, as good as
    forecast = preflight(whet.load_config([gpt_oss, {"device": "cpu"}]))
    assert forecast["step"]["completions"] == 2
