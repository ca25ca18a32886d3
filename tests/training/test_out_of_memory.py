"""When memory runs out an update is begun again with less, and a run that cannot go on is saved and says why."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from whet.algorithms.dr_grpo import DrGRPO
from whet.algorithms.grpo import GRPO
from whet.api import Run
from whet.config import OptimizerConfig, SamplingConfig
from whet.distributed.world import World
from whet.engines.native import NativeEngine
from whet.errors import TrainingError
from whet.policies.from_scratch import FromScratchPolicy
from whet.rollouts.annotate import annotate
from whet.rollouts.batch import make_batch
from whet.runs import reader
from whet.runs.directory import RunDirectory, list_runs
from whet.tracking.metrics import Metrics
from whet.training import launch
from whet.training.objectives import Reinforcement
from whet.training.optimizer import Optimizer
from whet.training.out_of_memory import halved
from whet.training.terms import with_advantages
from whet.training.update import Learner
from whet.types import Batch, TokenStats

OBJECTIVE = Reinforcement(DrGRPO(), True)


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """A card on which a pass over more rows than this fails after its forward pass; returns the rows of each."""
    real, passes = FromScratchPolicy.forward, list[int]()

    def forward(self: FromScratchPolicy, batch: Batch, *want: Any) -> TokenStats:
        stats = real(self, batch, *want)
        if torch.is_grad_enabled():
            passes.append(len(batch))
            if passes[-1] > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return stats

    monkeypatch.setattr(FromScratchPolicy, "forward", forward)
    return passes


def ready(microbatch_tokens: int = 10**6) -> tuple[Learner, Batch]:
    policy = tiny.policy()
    sampled = tiny.groups(policy, [[1.0, 0.0, 0.5], [0.0, 1.0, 0.25]])
    batch = make_batch(sampled, SamplingConfig(max_completion_length=6), torch.device("cpu"))
    learner = Learner(policy, Optimizer(policy.module, OptimizerConfig()), microbatch_tokens, World())
    return learner, with_advantages(batch, DrGRPO(), {})


def gradients(learner: Learner, batch: Batch) -> dict[str, torch.Tensor]:
    learner.backward(OBJECTIVE, batch, Metrics())
    return {n: p.grad.clone() for n, p in learner.policy.module.named_parameters() if p.grad is not None}


def rows(*lengths: int) -> Batch:
    """A group of these lengths, its prompt of two tokens included."""
    width = max(lengths)
    mask = torch.arange(width).expand(len(lengths), width) >= 2
    zeros = torch.zeros(len(lengths), width)
    return Batch(
        token_ids=torch.ones(len(lengths), width, dtype=torch.int64),
        lengths=torch.tensor(lengths),
        loss_mask=mask & (torch.arange(width) < torch.tensor(lengths)[:, None]),
        group=torch.zeros(len(lengths), dtype=torch.int64),
        truncated=torch.zeros(len(lengths), dtype=torch.bool),
        rewards=zeros,
        sampling_logprobs=zeros,
    )


@pytest.mark.parametrize(
    ("budget", "lengths", "less"),
    [
        (80, [9, 9, 30, 40], 40),
        (1000, [9, 9, 30, 40], 44),  # 88 were read
        (40, [9, 9, 30, 40], 20),  # the two short ones shared a micro-batch
        (3, [3] * 100, 1),  # a shared prompt and one token each, the last of which is not read
    ],
)
def test_the_budget_halves_until_every_sequence_is_alone(budget: int, lengths: list[int], less: int) -> None:
    assert halved(budget, rows(*lengths), packs=True) == less


@pytest.mark.parametrize(("budget", "lengths"), [(40, [40]), (20, [30, 40]), (1, [9, 9])])
@pytest.mark.parametrize("packs", [True, False])
def test_a_sequence_is_never_cut(budget: int, lengths: list[int], packs: bool) -> None:
    longest = max(lengths)
    with pytest.raises(
        TrainingError, match=rf"a single sequence, of {longest} tokens.*max_completion_length"
    ):
        halved(budget, rows(*lengths), packs)


def test_the_gradient_is_that_of_small_micro_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = gradients(*ready(microbatch_tokens=9))
    learner, batch = ready()
    passes = short_of_memory(monkeypatch, 2)
    found = gradients(learner, batch)
    assert passes[0] > 2 >= max(passes[-2:])
    assert learner.microbatch_tokens < 10**6
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=1e-6)


def test_what_passes_before_the_failure_gave_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = gradients(*ready(microbatch_tokens=9))
    learner, batch = ready(microbatch_tokens=12)
    real, count = torch.Tensor.backward, iter(range(100))

    def backward(tensor: torch.Tensor, *arguments: Any) -> None:
        real(tensor, *arguments)
        if next(count) == 1:  # the second pass, when all its gradients are there
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    found = gradients(learner, batch)
    assert learner.microbatch_tokens < 12
    assert next(count) > 3
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=1e-6)


def test_an_update_that_gave_up_leaves_the_limit_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, batch = ready()
    short_of_memory(monkeypatch, 0)
    with pytest.raises(TrainingError, match="a single sequence"):
        learner.update(OBJECTIVE, batch, 0.01)
    assert learner.microbatch_tokens == 10**6  # or a larger card would go on with single sequences
    assert all(p.grad is None for p in learner.policy.module.parameters())


def test_moments_that_do_not_fit_stop_with_all_or_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, batch = ready()
    learner.backward(OBJECTIVE, batch, Metrics())
    real = torch.zeros_like
    made = iter(range(100))

    def zeros_like(tensor: torch.Tensor, **more: Any) -> torch.Tensor:
        if next(made) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory.\nand more")
        return real(tensor, **more)

    with monkeypatch.context() as card:
        card.setattr(torch, "zeros_like", zeros_like)
        with pytest.raises(TrainingError, match=r"\(CUDA out of memory\.\): the moments of AdamW take 2"):
            learner.optimizer.step(0.01)
    assert next(made) == 4
    assert learner.optimizer.state_tensors() == {}


def test_passes_for_log_probabilities_begin_again_with_less_too(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, batch = ready()
    twice = GRPO(num_iterations=2)
    whole = annotate(batch, twice, learner.policy, None, 10**6)
    assert whole.old_logprobs is not None
    passes, real = list[int](), FromScratchPolicy.forward

    def forward(self: FromScratchPolicy, rows: Batch, *want: Any) -> TokenStats:
        passes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, rows, *want)

    monkeypatch.setattr(FromScratchPolicy, "forward", forward)
    found = learner.within_memory(batch, partial(annotate, batch, twice, learner.policy, None))
    assert found.old_logprobs is not None
    torch.testing.assert_close(found.old_logprobs, whole.old_logprobs)
    assert passes[0] == len(batch) and max(passes[-2:]) <= 2
    assert learner.microbatch_tokens < 10**6


def test_an_update_that_was_begun_again_moves_once_and_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, batch = ready(microbatch_tokens=9)
    one = plain.update(OBJECTIVE, batch, 0.01)
    learner, batch = ready()
    short_of_memory(monkeypatch, 2)
    other = learner.update(OBJECTIVE, batch, 0.01)
    assert other.state_dict().keys() == one.state_dict().keys()
    assert other.values() == pytest.approx(one.values(), rel=1e-4, abs=1e-6)
    assert learner.policy.version == plain.policy.version == 1
    steps = [t for n, t in learner.optimizer.state_tensors().items() if n.endswith(".step")]
    assert {float(step) for step in steps} == {1.0}


def test_the_next_update_begins_with_what_did_fit_and_one_line_was_said(
    monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    learner, batch = ready()
    passes = short_of_memory(monkeypatch, 2)
    with caplog.at_level(logging.WARNING):
        learner.update(OBJECTIVE, batch, 0.01)
    limit, said = learner.microbatch_tokens, [r.getMessage() for r in caplog.records]
    assert said[-1].startswith(f"memory ran out: micro-batches have {limit} tokens instead of ")
    assert "Tried to allocate 2.00 GiB" in said[-1]
    passes.clear()
    caplog.clear()
    learner.update(OBJECTIVE, batch, 0.01)
    assert max(passes) <= 2
    assert (learner.microbatch_tokens, caplog.records) == (limit, [])


def test_gradients_of_16_bits_that_were_not_gathered_yet_are_dropped_too() -> None:
    module = torch.nn.Linear(2, 2).bfloat16()
    optimizer = Optimizer(module, OptimizerConfig())
    module(torch.ones(1, 2, dtype=torch.bfloat16)).sum().backward()
    optimizer.gather()
    module(torch.ones(1, 2, dtype=torch.bfloat16)).sum().backward()
    optimizer.forget_gradient()
    assert all(p.grad is None for p in (*optimizer.masters, *optimizer.parameters))


# --- runs ---

SETTINGS: dict[str, Any] = {
    "batch": {"prompts_per_step": 2, "num_generations": 4, "microbatch_tokens": 1000},
    "save_every": 1,
}


@pytest.fixture
def _signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "letters_right", lambda text, answer: len(text) + 0.1 * text.count("a"))


def limit_in(run: RunDirectory, step: str) -> int:
    return int(json.loads((run.checkpoint(step) / "state.json").read_text())["microbatch_tokens"])


@pytest.mark.usefixtures("_signal")
def test_what_memory_allowed_survives_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = launch.start(tiny.config(tmp_path / "whole", **SETTINGS, max_steps=2))
    assert limit_in(whole, "2") == 1000
    with monkeypatch.context() as card:
        short_of_memory(card, 2)
        run = launch.start(tiny.config(tmp_path / "run", **SETTINGS, max_steps=2))
    limit = limit_in(run, "2")
    assert (limit_in(run, "0"), limit < 1000) == (1000, True)
    launch.resume(run, additional_steps=1)  # with memory enough, and still as before
    assert limit_in(run, "3") == limit


@pytest.mark.usefixtures("_signal")
def test_a_sequence_that_does_not_fit_stops_the_run_saved_and_it_goes_on_where_memory_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as card:
        short_of_memory(card, 0)
        with pytest.raises(TrainingError, match="a single sequence"):
            launch.start(tiny.config(tmp_path, **SETTINGS, max_steps=2))
    (run,) = list_runs(tmp_path)
    assert reader.state(run) == "failed"
    assert "Lower sampling.max_completion_length" in run.summary()["why"]
    assert (
        run.checkpoint().name == "step_000001_update_000001"
    )  # the batch is kept, and no update was counted
    assert json.loads((run.checkpoint() / "state.json").read_text())["update"] == 0
    sampled = len(list(reader.rollouts(run)))
    launch.resume(run)
    assert reader.state(run) == "finished"
    assert len(list(reader.rollouts(run))) == sampled * 2  # the first step was not sampled again


def test_an_engine_that_memory_does_not_suffice_for_names_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.\nand more")

    monkeypatch.setattr(NativeEngine, "generate", generate)
    match = r"while sampling \(CUDA out of memory\.\).*engine\.max_rows.*engine\.cache_mb.*max_completion_length \(3\)"
    with pytest.raises(TrainingError, match=match) as caught:
        launch.start(tiny.config(tmp_path, max_steps=1))
    assert caught.value.__context__ is None  # which would hold the engine's tensors while the run is saved
    (run,) = list_runs(tmp_path)
    assert (reader.state(run), run.checkpoint().name) == ("failed", "step_000000")
    with pytest.raises(TrainingError, match=match):
        Run(run).evaluate()
