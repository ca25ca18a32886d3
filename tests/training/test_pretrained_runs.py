"""Runs of pretrained policies: whole, through adapters, in bf16 and over 4 bits. They resume to the byte."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tiny
from checkpoints import tiny_checkpoint
from whet.errors import ConfigError
from whet.models.fingerprint import weights_hash
from whet.policies.huggingface import HuggingFace
from whet.runs import reader
from whet.runs.directory import RunDirectory
from whet.runs.policy import load_policy
from whet.training import launch
from whet.training.preflight import preflight

CPU = torch.device("cpu")
LORA = {"lora": {"r": 2, "alpha": 4}}
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="the extra quant is not installed"
)
CASES: dict[str, dict[str, Any]] = {
    "whole": {"policy": {}},
    "bf16": {"policy": {"precision": "bf16"}, "algorithm": {"name": "dr_grpo", "num_minibatches": 2}},
    "lora, warm start, reference": {
        "policy": LORA,
        "algorithm": {"name": "grpo", "num_minibatches": 2, "num_iterations": 2, "beta": 0.1},
        "warm_start": {"steps": 2, "batch_size": 4},
    },
    "lora over bf16, activations computed again": {
        "policy": {**LORA, "precision": "bf16", "activation_checkpointing": True},
    },
    "lora over 4 bits": {
        "policy": {**LORA, "quantization": "4bit"},
        "warm_start": {"steps": 2, "batch_size": 4},
    },
}


@pytest.fixture(params=[pytest.param(c, marks=needs_bitsandbytes if "4 bits" in c else ()) for c in CASES])
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CASES[request.param]


def config(root: Path, settings: dict[str, Any], **changes: Any) -> Any:
    policy = {"name": "huggingface", "model": str(tiny_checkpoint("qwen2")), **settings.get("policy", {})}
    base = {
        "policy": policy,
        "verifier": "checkpoints:length",
        "sampling": {"max_prompt_length": 40, "max_completion_length": 4},
        "batch": {"prompts_per_step": 2, "num_generations": 4, "microbatch_tokens": 100},
        "max_steps": 3,
    }
    return tiny.config(root, **{**base, **settings, "policy": policy, **changes})


def assert_same(run: RunDirectory, other: RunDirectory) -> None:
    found, expected = tiny.outcome(run), tiny.outcome(other)
    assert found.keys() == expected.keys()
    for part in expected:
        assert found[part] == expected[part], part


def test_a_stopped_and_resumed_run_is_the_same_run_to_the_byte(
    tmp_path: Path, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = launch.start(config(tmp_path / "whole", case))
    for poll in (2, 7, 12):  # in the warm start, or while sampling, or between two updates
        monkeypatch.setattr(launch, "StopSignal", lambda poll=poll: tiny.StopAt(poll))
        run = launch.start(config(tmp_path / f"cut{poll}", case))
        assert reader.state(run) == "stopped"
        monkeypatch.setattr(launch, "StopSignal", tiny.StopAt)
        launch.resume(run)
        assert_same(run, whole)


def test_every_step_moves_what_is_trained_and_nothing_else(tmp_path: Path, case: dict[str, Any]) -> None:
    run = launch.start(config(tmp_path, {**case, "warm_start": None}))
    before, after = (load_policy(run.checkpoint(s) / "model", CPU).module for s in ("0", "latest"))
    other = dict(after.named_parameters())
    moved = {n for n, p in before.named_parameters() if not torch.equal(p, other[n])}
    trained = {n for n, p in before.named_parameters() if p.requires_grad}
    assert moved == trained
    assert all("lora_" in n for n in trained) == ("lora" in case["policy"])


def test_a_checkpoint_of_adapters_is_small(tmp_path: Path) -> None:
    run = launch.start(config(tmp_path, {"policy": LORA, "max_steps": 1}))
    model = run.checkpoint() / "model"
    assert not (model / "model.safetensors").exists()
    tensors = load_file(model / "adapter_model.safetensors")
    # rank 2 on q, k, v, o (32 -> 32, 16, 16, 32) and gate, up, down (32 <-> 96), two layers:
    # 2 * 2 * ((32 + 32) + (32 + 16) + (32 + 16) + (32 + 32) + 3 * (32 + 96)) = 2432 numbers
    assert sum(t.numel() for t in tensors.values()) == 2432
    assert {t.dtype for t in tensors.values()} == {torch.float32}


def test_the_divergence_from_the_reference_is_zero_at_the_first_step_and_then_grows(tmp_path: Path) -> None:
    run = launch.start(
        config(tmp_path, {"policy": LORA, "algorithm": {"name": "grpo", "beta": 0.1}, "max_steps": 2})
    )
    first, second = (line["policy/kl_ref"] for line in reader.metrics(run))
    assert first == 0.0
    assert second > 0.0


def test_a_run_that_goes_on_from_adapters_refers_to_them_and_not_to_the_bare_base(tmp_path: Path) -> None:
    taught = launch.start(config(tmp_path / "1", {"policy": LORA, "max_steps": 2}))
    policy = {"lora": {"r": 2, "alpha": 4, "adapter": str(taught.checkpoint() / "model")}}
    settings = {"policy": policy, "algorithm": {"name": "grpo", "beta": 0.1}, "max_steps": 2}
    run = launch.start(config(tmp_path / "2", settings))
    old, new = (load_policy(r.checkpoint(s) / "model", CPU) for r, s in ((taught, "latest"), (run, "0")))
    assert weights_hash(new.module) == weights_hash(old.module)
    first, second = (line["policy/kl_ref"] for line in reader.metrics(run))
    assert first == 0.0
    assert second > 0.0


def test_a_run_can_start_from_the_policy_of_another_run(tmp_path: Path) -> None:
    taught = launch.start(config(tmp_path / "1", {"policy": LORA, "max_steps": 1}))
    settings = tiny.config(
        tmp_path / "2",
        init_from=str(taught.path),
        sampling={"max_prompt_length": 40, "max_completion_length": 4},
        verifier="checkpoints:length",
        max_steps=1,
    )
    run = launch.start(settings)
    old, new = (load_policy(r.checkpoint(s) / "model", CPU) for r, s in ((taught, "latest"), (run, "0")))
    assert weights_hash(new.module) == weights_hash(old.module)


def test_masters_keep_what_bf16_would_lose(tmp_path: Path) -> None:
    # A bf16 number near 0.02 has neighbours 1.2e-4 away: a step of 1e-6 is nothing to it, and three are not either.
    settings = {"policy": {"precision": "bf16"}, "optimizer": {"learning_rate": 1e-6}, "max_steps": 3}
    run = launch.start(config(tmp_path, settings))
    name = "model.layers.0.mlp.up_proj.weight"
    kept = load_file(run.checkpoint() / "optimizer.safetensors")[f"{name}.master"]
    start = load_file(run.checkpoint("0") / "model" / "model.safetensors")[name].float()
    now = load_file(run.checkpoint() / "model" / "model.safetensors")[name]
    assert kept.dtype == torch.float32
    assert 1e-6 < (kept - start).abs().mean().item() < 3e-6
    assert torch.equal(now, kept.bfloat16())
    assert (now.float() == start).float().mean() > 0.9


def test_the_forecast_counts_what_is_trained_and_what_is_only_held(tmp_path: Path) -> None:
    settings = config(tmp_path, {"policy": {**LORA, "precision": "bf16"}, "max_steps": 1})
    found = preflight(settings)
    run = launch.start(settings)
    held = HuggingFace(model=str(tiny_checkpoint("qwen2"))).build([], 0, CPU).module.num_parameters()
    assert found["policy"]["parameters"] == held + 2432
    assert found["policy"]["trained_parameters"] == 2432
    memory = found["memory_bytes"]
    assert memory["weights"] == 2 * held + 4 * 2432
    assert (memory["gradients"], memory["optimizer"]) == (4 * 2432, 8 * 2432)
    moments = load_file(run.checkpoint() / "optimizer.safetensors")
    adapter = load_file(run.checkpoint() / "model" / "adapter_model.safetensors")
    kept = [*adapter.values(), *(t for n, t in moments.items() if not n.endswith(".step"))]
    assert sum(t.nbytes for t in kept) == found["disk_bytes"]["checkpoint"]


def test_the_forecast_of_a_whole_bf16_model_has_masters(tmp_path: Path) -> None:
    found = preflight(config(tmp_path, {"policy": {"precision": "bf16"}}))
    count = found["policy"]["parameters"]
    memory = found["memory_bytes"]
    # two bytes of weight; gradient, two moments and the master in four each
    assert (memory["weights"], memory["gradients"], memory["optimizer"]) == (2 * count, 4 * count, 12 * count)
    assert found["disk_bytes"]["checkpoint"] == 14 * count
    # keys and values: 2 * 2 layers * (2 prompts + 8 rows of 4 tokens, each a multiple of 8) * 2 heads of 8 * 2 bytes
    assert memory["kv_cache"] == 2 * 2 * (2 * 24 + 8 * 8) * 16 * 2


def test_a_base_that_changed_under_a_run_is_found_out(tmp_path: Path) -> None:
    made = tiny_checkpoint("qwen2")
    model = tmp_path / "base"
    model.mkdir()
    for file in made.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    run = launch.start(config(tmp_path / "runs", {"policy": {**LORA, "model": str(model)}, "max_steps": 1}))
    weights = tiny_checkpoint("qwen2", seed=1) / "model.safetensors"
    (model / "model.safetensors").write_bytes(weights.read_bytes())
    with pytest.raises(ConfigError, match="holds other weights"):
        launch.resume(run, additional_steps=1)


def test_the_run_says_which_policy_it_holds(tmp_path: Path) -> None:
    run = launch.start(config(tmp_path, {"policy": {}, "max_steps": 1}))
    about = json.loads((run.checkpoint() / "model" / "policy.json").read_text())
    assert (about["policy"], about["settings"]["precision"]) == ("huggingface", "fp32")
