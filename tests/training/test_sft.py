"""Supervised runs: what is imitated, what is measured, what they leave for RL."""

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from checkpoints import tiny_checkpoint
from whet.config import load_config
from whet.errors import ConfigError, DataError
from whet.functional.statistics import confidence_interval
from whet.rollouts.demonstrations import demonstrations
from whet.runs.directory import RunDirectory
from whet.runs.policy import load_policy
from whet.text.prompts import PromptEncoder
from whet.training import launch

TAUGHT = {"name": "tiny:Rows", "has_demonstrations": True}
SFT = {
    "stage": "sft",
    "task": TAUGHT,
    "verifier": None,
    "batch": {"prompts_per_step": 3},
    "optimizer": {"learning_rate": 0.03},
}


def sft(root: Path, **changes: Any) -> RunDirectory:
    return launch.start(tiny.config(root, **SFT | changes))


def lines(run: RunDirectory) -> list[dict[str, float]]:
    from whet.runs import reader

    return reader.metrics(run)


def test_the_loss_of_the_first_step_is_that_of_the_demonstrations_it_draws(tmp_path: Path) -> None:
    run = sft(tmp_path, max_steps=1, batch={"prompts_per_step": 4, "microbatch_tokens": 5})
    policy = load_policy(run.checkpoint("0") / "model", torch.device("cpu"))
    # By hand: four demonstrations `x=` -> `x` and end of text, token by token through the module itself.
    total, tokens = 0.0, 0
    for text in ("a", "b", "c", "ab"):
        prompt, answer = policy.tokenizer.encode(f"{text}="), [*policy.tokenizer.encode(text), 0]
        hidden = policy.module(torch.tensor([prompt + answer]))
        logprobs = policy.module.logits(hidden).log_softmax(-1)[0]
        total -= sum(logprobs[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer))
        tokens += len(answer)
    assert lines(run)[0]["loss/nll"] == pytest.approx(total / tokens, abs=1e-6)
    assert lines(run)[0]["completions/tokens"] == tokens == 9  # 2 + 2 + 2 + 3


def test_a_supervised_run_learns_what_it_is_shown(tmp_path: Path) -> None:
    losses = [line["loss/nll"] for line in lines(sft(tmp_path, max_steps=40))]
    assert losses[0] > 1.5  # about log 5, of letters, = and end of text
    assert losses[-1] < 0.3


def test_nothing_is_sampled_and_no_reward_is_asked_for(tmp_path: Path) -> None:
    task = {**TAUGHT, "verifier": f"{__file__}:never"}
    (line,) = lines(sft(tmp_path, max_steps=1, task=task))
    assert not [key for key in line if key.startswith(("reward/", "rollout/"))]


def never(text: str, answer: str) -> float:
    raise AssertionError("a supervised step asked for a reward")


def test_held_out_demonstrations_are_measured_with_an_interval(tmp_path: Path) -> None:
    run = sft(tmp_path, max_steps=2, eval={"at_end": True})
    policy = load_policy(run.checkpoint("final") / "model", torch.device("cpu"))
    examples = tiny.Rows(has_demonstrations=True).load("test")
    (rollout,) = demonstrations(
        policy, PromptEncoder(policy.tokenizer, tiny.config(tmp_path).prompt), examples
    )
    ids = torch.tensor([rollout.token_ids])
    logprobs = policy.module.logits(policy.module(ids[:, :-1])).log_softmax(-1)
    each = logprobs[0].gather(-1, ids[0, 1:, None])[:, 0][-3:]  # b, c, end of text
    expected = confidence_interval([-each.mean().item()], ["bc="], weights=[3.0])
    found = run.summary()["eval"]["after"]
    assert found["nll"] == pytest.approx(expected.mean, abs=1e-6)
    assert found["nll_ci95"] == [None, None]  # one demonstration says nothing of the others


@pytest.mark.parametrize("poll", [1, 2, 3])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poll: int
) -> None:
    whole = sft(tmp_path / "whole", max_steps=4)
    with monkeypatch.context() as patch:
        patch.setattr(launch, "StopSignal", lambda: tiny.StopAt(poll))
        stopped = sft(tmp_path / "stopped", max_steps=4)
    assert stopped.summary()["state"] == "stopped"
    assert tiny.outcome(launch.resume(stopped)) == tiny.outcome(whole)


def test_rl_starts_from_the_policy_of_a_run_and_says_which(tmp_path: Path) -> None:
    first = sft(tmp_path, max_steps=3)
    second = launch.start(tiny.config(tmp_path, init_from="latest", max_steps=1, save_every=1))
    model = Path("model/model.safetensors")
    origin, start = first.checkpoint("final"), second.checkpoint("0")
    assert (start / model).read_bytes() == (origin / model).read_bytes()
    written = load_config([second.config])
    assert written.init_from is not None and Path(written.init_from).resolve() == origin.resolve()
    assert written.policy is None


def test_a_config_without_policy_and_origin_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy is missing: .*init_from"):
        tiny.config(tmp_path, policy=None)


def test_a_warm_start_has_no_place_in_a_supervised_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="warm_start has no place in stage sft"):
        tiny.config(tmp_path, **SFT, warm_start={"steps": 1})


def test_a_task_without_demonstrations_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing to imitate: .*task\.demonstration"):
        sft(tmp_path, task={"name": "tiny:Rows"})


def test_adapters_drop_inputs_in_supervised_steps_the_same_ones_every_time(tmp_path: Path) -> None:
    def losses(name: str, dropout: float) -> list[float]:
        lora = {"r": 4, "dropout": dropout}
        policy = {"name": "huggingface", "model": str(tiny_checkpoint("qwen2")), "lora": lora}
        run = sft(
            tmp_path / name,
            policy=policy,
            prompt={"chat": False},
            sampling={"max_prompt_length": 8},
            max_steps=3,
        )
        return [line["loss/nll"] for line in lines(run)]

    without, once, again = losses("without", 0.0), losses("once", 0.5), losses("again", 0.5)
    assert once == again
    assert once[0] == without[0]  # the adapters' B is zero: what they drop does not show yet
    assert once[1:] != without[1:]


def pretrained(root: Path, **changes: Any) -> RunDirectory:
    policy = {"name": "huggingface", "model": str(tiny_checkpoint("qwen2")), "lora": {"r": 4}}
    settings = {"policy": policy, "prompt": {"chat": False}, "max_steps": 1}
    return sft(root, **settings, **changes)


def test_how_a_pretrained_policy_is_run_is_taken_from_the_config_and_what_it_is_from_the_origin(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = pretrained(tmp_path)
    asked = {"name": "huggingface", "model": "another", "lora": {"r": 8}, "activation_checkpointing": True}
    second = launch.start(
        tiny.config(
            tmp_path, init_from="latest", policy=asked, prompt={"chat": False}, max_steps=1, save_every=1
        )
    )
    model = Path("model/adapter_model.safetensors")
    assert (second.checkpoint("0") / model).read_bytes() == (first.checkpoint("final") / model).read_bytes()
    written = load_config([second.config]).policy
    assert written.model_dump(include={"model", "activation_checkpointing"}) == {
        "model": str(tiny_checkpoint("qwen2")),
        "activation_checkpointing": True,
    }
    assert "policy.lora is left aside" in caplog.text


def test_a_whole_model_does_not_become_a_4_bit_base(tmp_path: Path) -> None:
    whole = {"name": "huggingface", "model": str(tiny_checkpoint("qwen2"))}
    sft(tmp_path, policy=whole, prompt={"chat": False}, max_steps=1)
    asked = {**whole, "quantization": "4bit", "lora": {"r": 4}}
    with pytest.raises(ConfigError, match="init_from names a whole model"):
        launch.start(tiny.config(tmp_path, init_from="latest", policy=asked, prompt={"chat": False}))
