"""Processes that train together do what one process does."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import tiny
from whet import registry
from whet.config import OptimizerConfig, SamplingConfig
from whet.distributed.world import World
from whet.errors import TrainingError
from whet.rollouts.annotate import annotate
from whet.rollouts.batch import make_batch
from whet.runs.files import read_tensors, write_tensors
from whet.tracking.metrics import Metrics
from whet.training.objectives import Reinforcement
from whet.training.optimizer import Optimizer
from whet.training.terms import with_advantages
from whet.training.update import Learner
from whet.types import Batch

NAMES = registry.names("algorithms")
REWARDS = [[1.0, 0.0, 0.25, 0.5], [0.0, 0.5, 1.0, 0.0], [1.0, 0.0, 0.75]]


def in_processes(count: int, folder: Path, work: Callable[[int], None]) -> list[int]:
    """Runs `work(rank)` in forked processes joined by gloo over a file and the loopback; their exit codes."""
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            _joined(rank, count, folder, work)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _joined(rank: int, count: int, folder: Path, work: Callable[[int], None]) -> None:
    code = 1
    try:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        torch.set_num_threads(1)
        store = dist.FileStore(str(folder / "store"), count)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=count)
        work(rank)
        dist.destroy_process_group()
        code = 0
    finally:
        os._exit(code)


def batch_of(name: str) -> tuple[registry.Plugin, Batch]:
    """Annotated rollouts with every term of the loss, in float64 so that sums in another order agree."""
    settings = {"name": name, "beta": 0.1, "entropy_coef": 0.05, "num_iterations": 2}
    algorithm = registry.build("algorithms", settings)
    policy, reference = tiny.policy(1), tiny.policy(2)
    batch = make_batch(
        tiny.groups(policy, REWARDS), SamplingConfig(max_completion_length=6), torch.device("cpu")
    )
    return algorithm, with_advantages(annotate(batch, algorithm, policy, reference, 10**6), algorithm, {})


def after_update(name: str, rows: Callable[[World, Tensor], Tensor]) -> dict[str, Tensor]:
    """The gradient and, after the update, the parameters."""
    algorithm, batch = batch_of(name)
    policy = tiny.policy(0)
    policy.module.double()
    world = World()
    batch = batch.rows(rows(world, torch.arange(len(batch))))
    objective = Reinforcement(algorithm, False)
    learner = Learner(policy, Optimizer(policy.module, OptimizerConfig(learning_rate=0.01)), 30, world)
    learner.backward(objective, batch, Metrics())
    found = {f"{name}/{k}.grad": p.grad.clone() for k, p in policy.module.named_parameters()}
    learner.optimizer.forget_gradient()
    learner.update(objective, batch, 0.01)
    return found | {f"{name}/{k}": p.detach() for k, p in policy.module.named_parameters()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Up to rounding. A bias of the keys has a gradient of zero, found as noise of 1e-18: Adam's first step makes
    learning_rate / eps = 1e6 times that of it."""
    for key in expected:
        atol = 1e-12 if key.endswith(".grad") else 1e-10
        torch.testing.assert_close(found[key], expected[key], rtol=1e-9, atol=atol)


def together(
    folder: Path, rows: Callable[[World, Tensor], Tensor], names: list[str]
) -> list[dict[str, Tensor]]:
    def work(rank: int) -> None:
        found: dict[str, Tensor] = {}
        for name in names:
            found |= after_update(name, rows)
        write_tensors(folder / f"{rank}.safetensors", found)

    assert in_processes(2, folder, work) == [0, 0]
    return [read_tensors(folder / f"{rank}.safetensors") for rank in range(2)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    return together(tmp_path_factory.mktemp("two"), World.shard, NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_have_the_gradient_and_make_the_update_of_one(
    name: str, two: list[dict[str, Tensor]]
) -> None:
    alone = after_update(name, lambda world, rows: rows)
    start = dict(tiny.policy(0).module.named_parameters())
    assert max((alone[f"{name}/{k}"] - p).abs().max() for k, p in start.items()) > 0.005
    for process in two:
        assert_same(process, alone)


def test_processes_agree_to_the_last_bit(two: list[dict[str, Tensor]]) -> None:
    one, other = two
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_a_process_without_rows_takes_part(tmp_path: Path) -> None:
    everything_at_rank_0 = lambda world, rows: rows if world.rank == 0 else rows[:0]  # noqa: E731
    alone = after_update("dr_grpo", lambda world, rows: rows)
    for process in together(tmp_path, everything_at_rank_0, ["dr_grpo"]):
        assert_same(process, alone)


def test_a_non_finite_gradient_in_one_process_moves_none(tmp_path: Path) -> None:
    def work(rank: int) -> None:
        algorithm, batch = batch_of("dr_grpo")
        policy, world = tiny.policy(0), World()
        before = {k: p.detach().clone() for k, p in policy.module.named_parameters()}
        batch = batch.rows(world.shard(torch.arange(len(batch))))
        if rank == 1:
            batch.advantages[0] = torch.inf
        learner = Learner(policy, Optimizer(policy.module, OptimizerConfig(learning_rate=0.01)), 30, world)
        metrics = learner.update(Reinforcement(algorithm, False), batch, 0.01)
        assert metrics.values()["optim/skipped"] == 1
        assert all(torch.equal(p, before[k]) for k, p in policy.module.named_parameters())

    assert in_processes(2, tmp_path, work) == [0, 0]


class _Short:
    """A policy of a process whose card holds only so many rows at once."""

    def __init__(self, policy: Any, most: int) -> None:
        self._policy, self._most = policy, most
        self.fell_short = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def forward(self, batch: Batch, want: Any) -> Any:
        stats = self._policy.forward(batch, want)
        if len(batch) > self._most:
            self.fell_short += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return stats


def _short_learner(world: World, most: int) -> tuple[Learner, Batch, Reinforcement]:
    """Of the process with rank 1; the others have memory enough."""
    algorithm, batch = batch_of("dr_grpo")
    policy = tiny.policy(0)
    policy.module.double()
    optimizer = Optimizer(policy.module, OptimizerConfig(learning_rate=0.01))
    card: Any = _Short(policy, most if world.rank == 1 else 10**6)
    batch = batch.rows(world.shard(torch.arange(len(batch))))
    return Learner(card, optimizer, 10**6, world), batch, Reinforcement(algorithm, False)


def test_a_process_whose_memory_ran_out_begins_again_and_the_update_is_that_of_one(tmp_path: Path) -> None:
    def work(rank: int) -> None:
        learner, batch, objective = _short_learner(World(), most=2)
        learner.update(objective, batch, 0.01)
        assert (learner.policy.fell_short > 0) == bool(rank)  # type: ignore[attr-defined]
        assert (learner.microbatch_tokens < 10**6) == bool(rank)
        found = {f"dr_grpo/{k}": p.detach() for k, p in learner.policy.module.named_parameters()}
        write_tensors(tmp_path / f"{rank}.safetensors", found)

    assert in_processes(2, tmp_path, work) == [0, 0]
    alone = after_update("dr_grpo", lambda world, rows: rows)
    for rank in range(2):
        for name, tensor in read_tensors(tmp_path / f"{rank}.safetensors").items():
            torch.testing.assert_close(tensor, alone[name], rtol=1e-9, atol=1e-12)


def test_where_one_process_gives_up_all_stop_and_none_waits(tmp_path: Path) -> None:
    def work(rank: int) -> None:
        learner, batch, objective = _short_learner(World(), most=0)
        with pytest.raises(
            TrainingError, match="a single sequence" if rank else "another process has stopped"
        ):
            learner.update(objective, batch, 0.01)
        assert learner.policy.version == 0

    assert in_processes(2, tmp_path, work) == [0, 0]


def test_sums_and_shares_over_three_processes(tmp_path: Path) -> None:
    def work(rank: int) -> None:
        world = World()
        assert (world.rank, world.size) == (rank, 3)
        assert world.sum(rank + 1.0, 10.0) == (6.0, 30.0)  # 1 + 2 + 3
        shares = {0: [0, 3, 6], 1: [1, 4], 2: [2, 5]}
        assert world.shard(torch.arange(7)).tolist() == shares[rank]

    assert in_processes(3, tmp_path, work) == [0, 0, 0]


def test_one_process_is_a_world_of_size_one() -> None:
    world, parameter = World(), torch.nn.Parameter(torch.ones(2))
    world.sum_gradients([parameter])
    assert (world.size, world.sum(2.0, 3.0), parameter.grad) == (1, (2.0, 3.0), None)
    assert world.shard(torch.arange(3)).tolist() == [0, 1, 2]
