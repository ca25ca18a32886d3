"""What a config leaves to the machine becomes a number, once, which stays with the run."""

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from whet.config import load_config
from whet.errors import ConfigError
from whet.runs.directory import RunDirectory
from whet.training import launch, settle
from whet.training.threads import available_cores, threads_for


@pytest.fixture(autouse=True)
def _threads_as_before() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def cores(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(settle, "available_cores", lambda: count)


# --- threads ---


@pytest.mark.parametrize(
    ("parameters", "cores", "threads"),
    [
        (0, 64, 1),
        (4_999_999, 64, 1),
        (5_000_000, 64, 2),
        (5_000_000, 1, 1),
        (49_999_999, 64, 2),
        (50_000_000, 64, 16),
        (50_000_000, 16, 16),
        (50_000_000, 15, 15),
        (50_000_000, 1, 1),
        (10**12, 17, 16),
    ],
)
def test_threads_follow_from_the_size_of_the_model_and_the_cores(
    parameters: int, cores: int, threads: int
) -> None:
    assert threads_for(parameters, cores) == threads


def test_the_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3, 5, 9}, raising=False)
    assert available_cores() == 3


def test_where_the_system_tells_no_affinity_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert available_cores() == 6


def test_a_run_says_how_many_threads_it_got_and_one_that_resumes_elsewhere_gets_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "threads_for", lambda parameters, cores: cores)
    cores(monkeypatch, 2)
    torch.set_num_threads(1)
    run = launch.start(tiny.config(tmp_path, num_threads=None, max_steps=1))
    assert load_config([run.config]).num_threads == 2
    assert torch.get_num_threads() == 2
    cores(monkeypatch, 1)
    torch.set_num_threads(1)
    launch.resume(run, additional_steps=1)
    assert load_config([run.config]).num_threads == 2
    assert torch.get_num_threads() == 2


def test_the_rule_asks_for_the_parameters_of_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(settle, "threads_for", lambda parameters, cores: asked.append(parameters) or 1)
    run = launch.start(tiny.config(tmp_path, num_threads=None, max_steps=1))
    (weights,) = run.checkpoint().rglob("model.safetensors")
    from safetensors.torch import load_file

    assert asked == [sum(t.numel() for t in load_file(weights).values())]


def test_threads_that_a_config_names_are_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cores(monkeypatch, 64)
    run = launch.start(tiny.config(tmp_path, num_threads=3, max_steps=1))
    assert load_config([run.config]).num_threads == 3
    assert torch.get_num_threads() == 3


# --- memory ---


def test_a_run_that_the_memory_of_a_cpu_cannot_hold_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "memory_bytes", lambda: (1000, 2000))
    with pytest.raises(ConfigError, match=r"needs about 108 kB of memory and there are 2 kB: .*weights") as e:
        launch.start(tiny.config(tmp_path / "runs", max_steps=1))
    assert "batch.microbatch_tokens" in str(e.value)
    assert not (tmp_path / "runs").exists()


def test_the_parts_are_named_the_largest_first_and_empty_ones_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settle, "memory_bytes", lambda: (0, 699))
    parts = {"weights": 200, "reference": 0, "kv_cache": 500, "total": 700}
    with pytest.raises(
        ConfigError, match="about 700 B of memory and there are 699 B: kv cache 500 B, weights 200 B"
    ):
        settle.refuse_too_large(parts)
    monkeypatch.setattr(settle, "memory_bytes", lambda: (0, 700))
    settle.refuse_too_large(parts)


def auto(root: Path) -> RunDirectory:
    batch = {"prompts_per_step": 2, "num_generations": 4, "microbatch_tokens": "auto"}
    return launch.start(tiny.config(root, max_steps=1, batch=batch))


def test_auto_becomes_a_number_in_the_config_of_the_run(tmp_path: Path) -> None:
    assert load_config([auto(tmp_path).config]).batch.microbatch_tokens == 16384


def test_a_run_with_auto_is_the_run_with_its_number(tmp_path: Path) -> None:
    named = tiny.config(tmp_path / "named", max_steps=1, batch={"microbatch_tokens": 16384})
    assert tiny.outcome(auto(tmp_path / "auto")) == tiny.outcome(launch.start(named))
