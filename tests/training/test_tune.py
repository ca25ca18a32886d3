"""What `tune` measures is a real step, and leaves no trace."""

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from whet import registry
from whet.errors import ConfigError
from whet.tracking.metrics import Metrics
from whet.training import tune as module
from whet.training.tune import Timing, Tuning, tune
from whet.training.update import Learner


@pytest.fixture(autouse=True)
def _threads_as_before() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def timing(threads: int, step_s: float) -> Timing:
    return Timing(threads, step_s / 2, step_s / 2, step_s)


@pytest.mark.parametrize(
    ("cores", "threads"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])]
)
def test_powers_of_two_up_to_all_cores_are_measured_with_so_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, threads: list[int]
) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: cores)
    torch.set_num_threads(2)
    heard: list[tuple[int, int]] = []
    found = tune(tiny.config(tmp_path), lambda one: heard.append((one.threads, torch.get_num_threads())))
    assert heard == [(count, count) for count in threads]
    assert [one.threads for one in found.timings] == threads
    assert torch.get_num_threads() == 2
    assert (found.cores, found.rule) == (cores, 1)


def test_a_step_is_a_rollout_and_all_its_updates(tmp_path: Path) -> None:
    algorithm = {"name": "grpo", "num_minibatches": 2, "num_iterations": 3}
    found = tune(tiny.config(tmp_path, algorithm=algorithm))
    assert found.updates == 6
    for one in found.timings:
        assert one.rollout_s > 0 and one.update_s > 0
        assert one.step_s == pytest.approx(one.rollout_s + 6 * one.update_s)


def test_fewer_threads_are_better_where_more_gain_next_to_nothing() -> None:
    def fastest(*timings: Timing) -> int:
        return Tuning(parameters=1, cores=4, updates=1, rule=1, timings=timings).fastest

    assert fastest(timing(1, 1.0), timing(2, 0.97), timing(4, 0.99)) == 1  # 3% is noise
    assert fastest(timing(1, 1.0), timing(2, 0.5), timing(4, 0.49)) == 2
    assert fastest(timing(1, 1.0), timing(2, 0.5), timing(4, 0.3)) == 4


@pytest.mark.parametrize("stage", ["rl", "sft"])
def test_nothing_moves_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    seen, norms = list[bool](), list[float]()
    real = Learner.update

    def update(self: Learner, *arguments: Any) -> Metrics:
        before = {name: p.detach().clone() for name, p in self.policy.module.named_parameters()}
        metrics = real(self, *arguments)
        seen.append(all(torch.equal(p, before[n]) for n, p in self.policy.module.named_parameters()))
        norms.append(metrics.values()["optim/grad_norm"])
        return metrics

    monkeypatch.setattr(Learner, "update", update)
    tune(tiny.config(tmp_path / "runs", stage=stage))
    assert seen and all(seen)
    assert min(norms) > 0
    assert not list(tmp_path.iterdir())


def test_an_update_has_work_to_do_where_every_completion_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "letters_right", lambda text, answer: 0.0)
    norms, real = list[float](), Learner.update

    def update(self: Learner, *arguments: Any) -> Metrics:
        metrics = real(self, *arguments)
        norms.append(metrics.values()["optim/grad_norm"])
        return metrics

    monkeypatch.setattr(Learner, "update", update)
    tune(tiny.config(tmp_path, algorithm={"name": "dapo"}))
    assert norms and min(norms) > 0


@pytest.mark.parametrize("name", registry.names("algorithms"))
def test_what_an_algorithm_needs_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: 1)
    assert tune(tiny.config(tmp_path, algorithm={"name": name, "beta": 0.1})).timings


def test_on_an_accelerator_there_is_nothing_to_tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pick_device", lambda name: torch.device("cuda"))
    with pytest.raises(ConfigError, match="would run on cuda: add device=cpu"):
        tune(tiny.config(tmp_path))
