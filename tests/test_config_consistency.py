"""Settings that contradict each other are refused with their fix; those that do nothing are a warning."""

from __future__ import annotations

import pytest

from whet.config import Config, load_config
from whet.errors import ConfigError, SettingWarning


def load(*overrides: str) -> Config:
    return load_config([{"max_steps": 5, "task": "echo", "policy": "from_scratch"}], overrides)


def problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("max_steps=null", "max_steps and num_epochs are both missing: say how long to train"),
        ("algorithm.num_minibatches=33", "algorithm.num_minibatches is 33, but a step has 32 groups"),
        (
            "batch.num_generations=1",
            "batch.num_generations is 1, but the baseline of dr_grpo compares",
        ),
        ("task={name: jsonl, path: rows.jsonl}", "a jsonl task needs a verifier"),
        ("eval.task={name: jsonl, path: rows.jsonl}", "a jsonl task needs a verifier"),
        ("trackers=[jsonl, tensorbord]", "trackers: there is no 'tensorbord'; there are: "),
    ],
)
def test_a_contradiction_names_the_fix(override: str, expected: str) -> None:
    found = problems(override)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_contradictions_are_listed_at_once() -> None:
    overrides = ("max_steps=null", "algorithm.num_minibatches=33", "batch.num_generations=1")
    assert len(problems(*overrides)) == 3


def test_a_group_of_one_is_fine_without_a_group_baseline() -> None:
    config = load("algorithm=reinforce", "batch.num_generations=1")
    assert config.batch.num_generations == 1


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("algorithm.kl_estimator=k1",), "algorithm.kl_estimator has no effect while algorithm.beta is 0"),
        (("algorithm.kl_in=reward",), "algorithm.kl_in has no effect while algorithm.beta is 0"),
        (
            ("algorithm.beta=0.1", "algorithm.kl_in=reward", "algorithm.kl_estimator=k2"),
            "algorithm.kl_estimator has no effect while algorithm.kl_in is reward",
        ),
        (
            ("stop.when=eval/pass@1 >= 0.9",),
            "stop.when: eval/pass@1 >= 0.9 has no effect while eval_every is 0",
        ),
        (
            ("optimizer.warmup_steps=5",),
            "optimizer.learning_rate is never reached: warmup_steps 5 >= max_steps 5",
        ),
        (
            ("optimizer.schedule_steps=5",),
            "optimizer.schedule_steps has no effect while optimizer.schedule is constant",
        ),
    ],
)
def test_a_setting_without_effect_is_a_warning(overrides: tuple[str, ...], expected: str) -> None:
    with pytest.warns(SettingWarning, match=expected):
        load(*overrides)


def test_settings_with_an_effect_give_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    load("algorithm.beta=0.1", "algorithm.kl_estimator=k1", "optimizer.warmup_steps=4")
    load("optimizer.schedule=linear", "optimizer.schedule_steps=9")
    load("stop.when=eval/pass@1 >= 0.9", "eval_every=2")
    load("stop.when=reward/mean >= 0.9")
    assert [w.message for w in recwarn if issubclass(w.category, SettingWarning)] == []
