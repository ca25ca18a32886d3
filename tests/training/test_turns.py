"""Runs on tasks with turns: every algorithm takes them, metrics count them, and a resumed run is the same run."""

from pathlib import Path

import pytest

import tiny
from whet import registry
from whet.config import load_config
from whet.errors import ConfigError
from whet.rollouts.episodes import check_turns
from whet.runs import reader
from whet.text.prompts import PromptEncoder
from whet.training import launch
from whet.training.job import Data, build_policy

TURNS = {
    "task": {"name": "turn_tasks:Letters"},
    "verifier": None,
    "policy": {"context_length": 24, "alphabet": "abc="},
    "sampling": {"max_prompt_length": 4, "max_completion_length": 16},
    "batch": {"microbatch_tokens": 60},
}


def config(root: Path, **changes: object):
    return tiny.config(root, **{**TURNS, **changes})


@pytest.mark.parametrize(
    "name",
    [n if n == "dr_grpo" else pytest.param(n, marks=pytest.mark.slow) for n in registry.names("algorithms")],
)
def test_every_algorithm_trains_on_episodes(tmp_path: Path, name: str) -> None:
    run = launch.start(config(tmp_path, algorithm={"name": name, "num_iterations": 2}, max_steps=2))
    lines = reader.metrics(run)
    assert [line["step"] for line in lines] == [1, 2]
    assert all(1 < line["rollout/turns"] <= 3 for line in lines)
    assert all(line["optim/grad_norm"] > 0 for line in lines)
    assert all(0 < line["policy/sampling_gap_max"] < 1e-5 for line in lines)


def test_two_steps_and_two_more_are_four(tmp_path: Path) -> None:
    whole = launch.start(config(tmp_path / "whole"))
    half = launch.start(config(tmp_path / "half", max_steps=2))
    assert tiny.outcome(launch.resume(half, additional_steps=2)) == tiny.outcome(whole)


def test_a_new_tokenizer_knows_what_episodes_say(tmp_path: Path) -> None:
    settings = config(tmp_path, task={"name": "guess_number", "num_train": 8, "num_test": 4})
    settings = load_config([settings.model_dump(), {"sampling": {"max_prompt_length": 8}}])
    data = Data.load(settings)
    policy = build_policy(settings, data, launch.pick_device("cpu"))
    said = "higherlower?0123456789"
    assert policy.tokenizer.decode(policy.tokenizer.encode(said)) == said


def test_a_template_that_is_refused_is_refused_before_training() -> None:
    from chat_tokenizers import QWEN3, fast_tokenizer
    from whet.config import PromptConfig
    from whet.text.pretrained import PretrainedTokenizer

    task = registry.build("tasks", {"name": "guess_number", "num_train": 8, "num_test": 4})
    encode = PromptEncoder(PretrainedTokenizer(fast_tokenizer(QWEN3), [2]), PromptConfig())
    with pytest.raises(ConfigError, match="writes earlier turns otherwise than they were sampled"):
        check_turns(task, task.examples("train"), encode)
