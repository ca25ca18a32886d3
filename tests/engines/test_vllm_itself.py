"""vLLM itself, in an environment of its own: `make test-vllm`."""

import os
import signal
import sys
from typing import Any

import pytest
import torch

import peaked
import tiny
from checkpoints import tiny_checkpoint
from processes import assert_ends
from whet import registry
from whet.engines._vllm_remote import RemoteWorker, ServerProcess
from whet.engines._vllm_worker import LocalWorker
from whet.engines.vllm import Vllm, VllmEngine
from whet.errors import EngineError
from whet.policies.from_scratch import FromScratch
from whet.policies.huggingface import HuggingFace
from whet.runs import reader
from whet.runs.directory import list_runs
from whet.training import launch
from whet.types import Request

pytestmark = pytest.mark.vllm
CPU = torch.device("cpu")
ENGINE = {"name": "vllm", "kv_cache_gb": 0.25, "max_rows": 32}
WIDTH = 128  # 32 a head, the least that vLLM's attention computes on a CPU


@pytest.fixture(params=["whole", "lora"])
def policy(request: pytest.FixtureRequest) -> Any:
    lora = {"lora": {"r": 4}} if request.param == "lora" else {}
    return HuggingFace(model=str(tiny_checkpoint(width=WIDTH)), **lora).build([], 0, CPU)


@pytest.fixture(scope="module")
def local() -> LocalWorker:
    return LocalWorker()


@pytest.fixture
def engine(policy: Any, local: LocalWorker) -> VllmEngine:
    return VllmEngine(policy, Vllm(**ENGINE), lambda: local)


def requests(policy: Any, samples: int = 8) -> list[Request]:
    return peaked.requests(policy, samples=samples, prompts=["What is 2+2?", "Say a.", "xyz"])


def update(policy: Any, size: float, seed: int) -> None:
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=noise) * size)
    policy.version += 1


def gap(policy: Any, asked: Any, found: Any, temperature: float) -> float:
    batch = peaked.batch_of(asked, list(found.values()), temperature)
    with torch.no_grad():
        return float((policy.forward(batch).logprobs - batch.sampling_logprobs).abs().max())


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_the_trainers_before_and_after_updates(
    policy: Any, engine: VllmEngine, temperature: float
) -> None:
    asked, seen = requests(policy), []
    for seed in range(3):
        found = peaked.draw(engine, asked, temperature=temperature)
        seen.append([found[p].token_ids for p in sorted(found)])
        print(f"gap {gap(policy, asked, found, temperature):.2g} nats, update {seed}")
        assert gap(policy, asked, found, temperature) < 1e-3
        update(policy, 0.1, seed)
    assert seen[0] != seen[1] != seen[2]


def test_greedy_tokens_are_those_of_the_engine_over_generate(policy: Any, engine: VllmEngine) -> None:
    update(policy, 0.2, 7)
    asked = requests(policy, samples=1)
    theirs = peaked.draw(registry.build("engines", "huggingface").build(policy), asked, temperature=0.0)
    ours = peaked.draw(engine, asked, temperature=0.0)
    assert {p: c.token_ids for p, c in ours.items()} == {p: c.token_ids for p, c in theirs.items()}


def test_the_same_keys_draw_the_same_tokens_and_other_keys_others(policy: Any, engine: VllmEngine) -> None:
    asked = requests(policy)
    first, again = peaked.draw(engine, asked), peaked.draw(engine, asked)
    assert {p: c.token_ids for p, c in first.items()} == {p: c.token_ids for p, c in again.items()}
    assert len({c.token_ids for c in first.values()}) > 12


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_tokens_are_drawn_as_often_as_their_probabilities_say(
    policy: Any, engine: VllmEngine, temperature: float
) -> None:
    update(policy, 0.3, 5)
    (asked,) = peaked.requests(policy, samples=2000, prompts=["Say a."])
    found = peaked.draw(engine, [asked], temperature=temperature, max_completion_length=1)
    with torch.no_grad():
        logits = policy.module(input_ids=torch.tensor([asked.prompt_ids])).logits[0, -1]
    expected = 2000 * (logits / temperature).softmax(-1)  # [V]
    counts = torch.bincount(torch.tensor([c.token_ids[0] for c in found.values()]), minlength=len(expected))
    often = expected > 5
    assert often.sum() >= 5
    chi2 = float(((counts - expected)[often] ** 2 / expected[often]).sum())
    degrees = int(often.sum())
    assert chi2 < degrees + 4 * (2 * degrees) ** 0.5  # mean n, variance 2 n


def test_top_k_and_top_p_give_the_log_probabilities_of_what_they_leave(
    policy: Any, engine: VllmEngine
) -> None:
    found = peaked.draw(engine, requests(policy), top_k=1)
    assert {x for c in found.values() for x in c.logprobs} == {0.0}


def test_an_update_that_vllm_misses_is_noticed(policy: Any, engine: VllmEngine, monkeypatch: Any) -> None:
    peaked.draw(engine, requests(policy))
    llm = engine._worker._llm  # type: ignore[union-attr]
    real = llm.collective_rpc
    monkeypatch.setattr(llm, "collective_rpc", lambda *a, **k: None)
    update(policy, 1e-4, 3)
    with pytest.raises(EngineError, match="canary"):
        peaked.draw(engine, requests(policy))
    monkeypatch.setattr(llm, "collective_rpc", real)


def test_a_stop_string_ends_a_completion(policy: Any, engine: VllmEngine) -> None:
    asked = requests(policy)
    free = peaked.draw(engine, asked)
    letter = next(c.text[2] for c in free.values() if len(c.text) > 4 and c.text[2].isascii())
    for place, stopped in peaked.draw(engine, asked, stop=(letter,)).items():
        whole = free[place]
        assert stopped.token_ids == whole.token_ids[: len(stopped.token_ids)]
        assert letter not in stopped.text


def test_a_completion_that_takes_too_long_ends_where_it_is(policy: Any, engine: VllmEngine) -> None:
    asked = requests(policy)
    free = peaked.draw(engine, asked)
    late = peaked.draw(engine, asked, timeout_s=1e-9)
    assert {p: c.token_ids for p, c in late.items()} == {p: c.token_ids[:1] for p, c in free.items()}
    assert {c.finish_reason for c in late.values()} <= {"timeout", "stop"}
    assert {p: c.token_ids for p, c in peaked.draw(engine, asked).items()} == {
        p: c.token_ids for p, c in free.items()
    }


def test_a_policy_from_scratch_is_sampled_as_its_gpt2_twin() -> None:
    sizes = FromScratch(num_layers=2, num_heads=2, width=64, context_length=32)
    policy = sizes.build(["0123456789+-*="], 0, CPU)
    peaked.disturb(policy)
    engine, asked = VllmEngine(policy, Vllm(**ENGINE), LocalWorker), peaked.requests(policy, samples=8)
    for seed in range(2):
        found = peaked.draw(engine, asked)
        assert gap(policy, asked, found, 1.0) < 1e-3
        peaked.disturb(policy, seed)
        policy.version += 1


def config(root: Any, **changes: Any) -> Any:
    policy = {"name": "huggingface", "model": str(tiny_checkpoint(width=WIDTH))}
    base = {
        "policy": policy,
        "verifier": "checkpoints:length",
        "sampling": {"max_prompt_length": 40, "max_completion_length": 8},
        "batch": {"prompts_per_step": 2, "num_generations": 4, "microbatch_tokens": 100},
        "max_steps": 3,
        "engine": ENGINE,
        "algorithm": {"name": "dr_grpo", "tis": 2.0},
    }
    return tiny.config(root, **{**base, **changes})


@pytest.mark.parametrize("where", [{}, {"python": sys.executable}], ids=["in process", "server"])
def test_a_run_of_three_steps_ends_well(tmp_path: Any, where: dict[str, Any]) -> None:
    run = launch.start(config(tmp_path, engine={**ENGINE, **where}))
    assert run.summary()["state"] == "finished"
    lines = reader.metrics(run)
    gaps = [line["policy/sampling_gap_max"] for line in lines if "policy/sampling_gap_max" in line]
    print("sampling gaps", gaps, "rollout seconds", [line.get("time/rollout_s") for line in lines])
    assert len(gaps) == 3
    assert max(gaps) < 1e-3


def test_a_server_that_is_killed_ends_the_run_with_its_state_saved(tmp_path: Any, monkeypatch: Any) -> None:
    started: list[ServerProcess] = []
    real = ServerProcess.__init__
    monkeypatch.setattr(
        ServerProcess, "__init__", lambda self, python: (real(self, python), started.append(self))[0]
    )
    held = RemoteWorker.held
    calls = [0]

    def killed_in_step_3(self: RemoteWorker) -> Any:
        calls[0] += 1
        if calls[0] == 5:  # two a step: the third begins
            os.kill(started[0].pid, signal.SIGKILL)
        return held(self)

    monkeypatch.setattr(RemoteWorker, "held", killed_in_step_3)
    with pytest.raises(EngineError, match=r"was lost in /held: .*exit code -9"):
        launch.start(config(tmp_path, engine={**ENGINE, "python": sys.executable}))
    (run,) = list_runs(tmp_path)
    assert run.summary()["state"] == "failed"
    assert "vLLM server" in run.summary()["why"]
    assert run.checkpoint().name == "step_000002"
    assert_ends(started[0].pid)
    monkeypatch.undo()
    launch.resume(run)
    assert run.summary()["state"] == "finished"
