"""Other tools' names: every answer names something that whet has, and errors give it."""

from __future__ import annotations

import pkgutil
from itertools import pairwise
from typing import Any

import pytest

from whet import cli, foreign_names, registry
from whet.config import Config, load_config
from whet.config_problems import settings_of
from whet.errors import ConfigError
from whet.foreign_names.shared import PLUGINS, SHARED

KINDS = {"task": "tasks", "policy": "policies", "engine": "engines", "algorithm": "algorithms"}
ROWS = [
    (f"{tool}: {name}", answer)
    for tool, tables in {**foreign_names.TOOLS, "several": {"": SHARED}}.items()
    for table in tables.values()
    for names, answer in table.items()
    for name in names.split()
]


def every_setting() -> set[str]:
    """Of all plug-ins, and not of one config only."""
    found = {"verifier", *settings_of(Config, {})}
    for section, kind in KINDS.items():
        found.add(f"{section}.name")
        for name in registry.names(kind):
            found.update(settings_of(Config, {section: name}))
    return found


def test_every_place_in_an_answer_is_a_setting_of_whet() -> None:
    settings = every_setting()
    assert [
        (name, place) for name, a in ROWS if (place := foreign_names.place_of(a)) and place not in settings
    ] == []


def test_every_command_in_an_answer_is_a_verb() -> None:
    verbs = {module.name for module in pkgutil.iter_modules(cli.__path__)}
    named = {(name, a.split()[1]) for name, a in ROWS if a.startswith("whet ")}
    assert [pair for pair in named if pair[1] not in verbs] == []


def test_an_answer_is_a_place_a_command_or_a_reason() -> None:
    starts = ("whet ", "not needed: ", "not there: ")
    assert [name for name, a in ROWS if not a.startswith(starts) and foreign_names.place_of(a) is None] == []


def test_a_tool_has_one_answer_to_a_name() -> None:
    for tool, tables in foreign_names.TOOLS.items():
        names = sorted(n for t in tables.values() for names in t for n in names.split())
        twice = {a for a, b in pairwise(names) if a == b}
        answers = {n: {t[k] for t in tables.values() for k in t if n in k.split()} for n in twice}
        assert {n: a for n, a in answers.items() if len(a) > 1} == {}, tool


def problem(*overrides: str) -> str:
    base: dict[str, Any] = {"max_steps": 1, "task": "echo", "policy": "from_scratch"}
    with pytest.raises(ConfigError) as caught:
        load_config([base], overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("bf16=true", "In whet it is policy.precision"),
        ("fp16=true", "fp16 is not there"),
        ("use_vllm=true", "In whet it is engine.name (vllm)"),
        ("eval_strategy=steps", "In whet it is eval_every"),
        ("save_strategy=steps", "In whet it is save_every"),
        ("resume_from_checkpoint=x", "In whet it is whet resume RUN"),
        ("sampling.top_p=0.9", "whet does not have it: training samples the full tempered distribution"),
        ("sampling.top_k=50", "whet does not have it: training samples the full tempered distribution"),
        ("run_name=a", "In whet it is runs_root"),
        ("gradient_checkpointing=true", "policy.activation_checkpointing"),
        ("load_in_4bit=true", "policy.quantization"),
        ("lora_r=8", "policy.lora.r"),
        ("policy.lora_alpha=8", "policy.lora.alpha"),
        ("peft_config={r: 8}", "policy.lora"),
        ("total_timesteps=1000", "In whet it is max_steps (a step is a batch of prompts, not a move)"),
        ("kl_beta=0.1", "In whet it is algorithm.beta"),
        ("exp_name=a", "In whet it is runs_root"),
    ],
)
def test_the_name_of_another_tool_is_answered_with_whets(setting: str, answer: str) -> None:
    assert answer in problem(setting)


def test_where_a_key_stands_decides_what_it_means() -> None:
    assert (
        problem("algorithm.eps=0.2")
        == "algorithm.eps is not a setting of dr_grpo (command line). In whet it is epsilon."
    )
    assert "Its place is optimizer.eps." in problem("eps=0.2")


def test_a_batch_size_is_not_taken_for_that_of_the_warm_start() -> None:
    assert "In whet it is prompts_per_step" in problem("batch.batch_size=8")
    assert "In whet it is batch.prompts_per_step" in problem("batch_size=8")


def test_each_setting_of_a_section_of_verls_gets_its_line() -> None:
    lines = problem("actor_rollout_ref.rollout.n=8", "actor_rollout_ref.actor.ppo_epochs=2").splitlines()
    assert lines == [
        "actor_rollout_ref.rollout.n is not a setting of whet (command line). In whet it is batch.num_generations.",
        "actor_rollout_ref.actor.ppo_epochs is not a setting of whet (command line). "
        "In whet it is algorithm.num_iterations.",
    ]


def test_a_wrong_section_that_no_tool_has_is_one_problem() -> None:
    assert problem("optimiser={learning_rate: 1, betas: [0, 0]}") == (
        "optimiser is not a setting of the config (command line). Did you mean optimizer?"
    )


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("algorithm=dpo", "whet has no loss for pairs of preferences"),
        ("algorithm=PPO", "whet has no critic (yet)"),
        ("algorithm=GRPO", "Did you mean grpo?"),
        ("algorithm=Dr-GRPO", "Did you mean dr_grpo?"),
        ("algorithm=reinforce++", "In whet it is reinforce_pp."),
        ("engine=sglang", "whet has no such engine"),
        ("policy=gpt2", "policy.name=huggingface policy.model=gpt2"),
        ("policy=Qwen/Qwen2.5-1.5B", "policy.name=huggingface policy.model=Qwen/Qwen2.5-1.5B"),
        ("policy=lora", "policy.lora.r=16"),
        ("task=openai/gsm8k", "In whet it is gsm8k."),
        ("task=me/numbers", "task.name=jsonl task.path=me/numbers"),
        ("verifier=format_reward", "In whet it is tags_format."),
    ],
)
def test_a_plug_in_that_another_tool_has_is_answered_with_what_there_is(setting: str, answer: str) -> None:
    assert answer in problem(setting)


def test_every_plug_in_table_is_of_a_kind_and_none_of_its_names_is_whets() -> None:
    for kind, hints in PLUGINS.items():
        assert not set(hints) & set(registry.names(kind)), kind


@pytest.mark.peer
def test_every_field_of_trls_configs_has_an_answer() -> None:
    import dataclasses

    from trl import GRPOConfig, ModelConfig, ScriptArguments, SFTConfig

    answered = {name.removeprefix("TRL: ") for name, _ in ROWS if name.startswith("TRL: ")}
    classes = (GRPOConfig, SFTConfig, ModelConfig, ScriptArguments)
    fields = {field.name for cls in classes for field in dataclasses.fields(cls)}
    assert sorted(fields - answered) == []
