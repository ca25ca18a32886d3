"""Every single operation of a save fails in turn: what is found afterwards is the old checkpoint or the new one.

`Disk` stands between the code and the system. It counts operations, and at the i-th one raises an error, ends the
process, or ends it with the loss of everything that was not synced (the power goes).
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from whet.errors import RunError
from whet.runs import checkpoint
from whet.runs.files import read_json, read_tensors, write_json, write_tensors

ERRORS = {"ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT, "EIO": errno.EIO}
KINDS = [
    "ENOSPC",
    pytest.param("EIO", marks=pytest.mark.slow),
    pytest.param("EDQUOT", marks=pytest.mark.slow),
    pytest.param("full from here on", marks=pytest.mark.slow),
    "short write",
    "kill",
    "power",
]
OPERATIONS = ("open", "write", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "symlink")
KILLED = 137
Scenario = Callable[[Path], object]


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty directory in memory, where syncing costs nothing."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


class Disk:
    """Counts the operations below one directory, and lets the i-th one fail."""

    def __init__(self, root: Path, kind: str = "", fail_at: int = 0) -> None:
        self.root, self.kind, self.fail_at = root, kind, fail_at
        self.count = 0
        self.real = {name: getattr(os, name) for name in OPERATIONS}
        self.real_open = io.open
        self.unsynced: set[int] = set()  # inodes of files with bytes that only memory has
        self.names: list[tuple[int, str, str | None]] = []  # directory inode, new name, name before

    @contextlib.contextmanager
    def between(self) -> Iterator[None]:
        for name in OPERATIONS:
            setattr(os, name, self._wrapped(name))
        io.open = self._reading
        try:
            yield
        finally:
            io.open = self.real_open
            for name, function in self.real.items():
                setattr(os, name, function)

    def _reading(self, *args, **kwargs):
        self._step("read")
        return self.real_open(*args, **kwargs)

    def _wrapped(self, name: str):
        def operation(*args, **kwargs):
            short = self._step(name, args)
            if name == "write":
                self.unsynced.add(os.fstat(args[0]).st_ino)
                args = (args[0], args[1][: max(1, len(args[1]) // 2)]) if short else args
            new = name in ("mkdir", "symlink") or (name == "open" and args[1] & os.O_CREAT)
            result = self.real[name](*args, **kwargs)
            if name == "fsync":
                self._synced(os.fstat(args[0]).st_ino)
            elif name in ("rename", "replace"):
                self._named(Path(args[1]), Path(args[0]).name)
            elif new:
                self._named(Path(args[1] if name == "symlink" else args[0]), None)
            return result

        return operation

    def _step(self, name: str, args: tuple = ()) -> bool:
        self.count += 1
        if self.kind == "full from here on" and 0 < self.fail_at <= self.count:
            if name in ("write", "mkdir", "symlink") or (name == "open" and args[1] & os.O_CREAT):
                raise OSError(errno.ENOSPC, "No space left on device")
        elif self.count == self.fail_at:
            if self.kind in ERRORS:
                raise OSError(ERRORS[self.kind], os.strerror(ERRORS[self.kind]))
            if self.kind in ("kill", "power"):
                self.die()
            return self.kind == "short write" and name == "write"
        return False

    def die(self) -> None:
        if self.kind == "power":
            self._lose_unsynced()
        os._exit(KILLED)

    def _synced(self, inode: int) -> None:
        self.unsynced.discard(inode)
        self.names = [entry for entry in self.names if entry[0] != inode]

    def _named(self, path: Path, before: str | None) -> None:
        self.names.append((path.parent.stat().st_ino, path.name, before))

    def _lose_unsynced(self) -> None:
        for name, function in self.real.items():
            setattr(os, name, function)
        for path in self.root.rglob("*"):
            if path.is_file() and path.stat().st_ino in self.unsynced:
                os.truncate(path, 0)
        for inode, name, before in reversed(self.names):
            folders = [self.root, *(p for p in self.root.rglob("*") if p.is_dir())]
            folder = next((p for p in folders if p.stat().st_ino == inode), None)
            if folder is None or not os.path.lexists(folder / name):
                continue
            if before is not None:
                (folder / name).rename(folder / before)
            elif (folder / name).is_dir():
                (folder / name).rename(folder / f".tmp-lost-{name}")
            else:
                (folder / name).unlink()


def content(value: int) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        (directory / "model").mkdir()
        write_json(directory / "model" / "weights.json", [value] * 50)
        write_json(directory / "state.json", {"value": value})

    return write


def value_in(path: Path) -> int:
    """The one value that all files of a checkpoint agree on."""
    weights = read_json(path / "model" / "weights.json")
    value = read_json(path / "state.json")["value"]
    assert weights == [value] * 50, f"{path} is a mix"
    return int(value)


def next_step(root: Path) -> None:
    checkpoint.save(root, 2, content(2))


def inside_the_next_step(root: Path) -> None:
    checkpoint.save(root, 2, content(2), update=3)


def the_same_step_again(root: Path) -> None:
    checkpoint.save(root, 1, content(2))


def next_step_and_prune(root: Path) -> None:
    next_step(root)
    checkpoint.prune(root, keep=1)


def another_way_from_here(root: Path) -> None:
    checkpoint.discard_after(root, root / "step_000001")
    next_step(root)


SCENARIOS = [next_step, inside_the_next_step, the_same_step_again, next_step_and_prune, another_way_from_here]


def prepare(root: Path, scenario: Scenario) -> None:
    checkpoint.save(root, 1, content(1))
    if scenario is another_way_from_here:
        checkpoint.save(root, 3, content(3))


def run_with_fault(root: Path, scenario: Scenario, kind: str, fail_at: int) -> bool:
    """Runs a scenario with one fault, and returns whether it ended well. Kills happen in a child."""
    disk = Disk(root, kind, fail_at)
    if kind not in ("kill", "power"):
        try:
            with disk.between():
                scenario(root)
        except RunError:
            return False
        except OSError:
            assert scenario is another_way_from_here  # saving and pruning have a message for a person
            return False
        return True
    if (child := os.fork()) == 0:
        try:
            with disk.between():
                scenario(root)
                disk.die()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED
    return False


def operations_of(root: Path, scenario: Scenario) -> int:
    prepare(root, scenario)
    disk = Disk(root)
    with disk.between():
        scenario(root)
    return disk.count


def damage_in(root: Path) -> list[RunError]:
    """Why checkpoints that seem complete do not verify."""
    found = []
    for path in checkpoint.steps(root):
        try:
            checkpoint.verify(path)
        except RunError as error:
            found.append(error)
    return found


def broken_outcomes(base: Path, scenario: Scenario, kind: str) -> tuple[int, list[str]]:
    """How many faults were tried, and which of them left neither the old checkpoint nor the new one."""
    total = operations_of(base / "count", scenario)
    broken = []
    for fail_at in range(1, total + 2):
        root = base / f"{fail_at}" / "training_state"
        prepare(root, scenario)
        ended_well = run_with_fault(root, scenario, kind, fail_at)
        for moment in ("at once", "after cleaning"):
            newest = checkpoint.newest_good(root)
            found = None if newest is None else value_in(newest)
            broken += [f"{kind} at operation {fail_at} of {total}, {moment}: {e}" for e in damage_in(root)]
            allowed = {2} if ended_well or fail_at > total else {1, 2, 3}
            if found not in allowed:
                broken.append(f"{kind} at operation {fail_at} of {total}, {moment}: found {found}")
            checkpoint.clean(root)
        assert not list(root.glob(".tmp-*"))
        assert not list(root.glob("*.old"))
        checkpoint.save(root, 4, content(4))
        assert value_in(checkpoint.find(root, "latest")) == 4
    return total + 1, broken


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_operation_leaves_the_old_checkpoint_or_the_new_one(folder, kind, scenario):
    tried, broken = broken_outcomes(folder, scenario, kind)
    assert tried > 20
    assert broken == []


def test_a_read_error_at_any_operation_makes_discovery_fall_back(folder):
    root = folder / "training_state"
    for step in (1, 2):
        checkpoint.save(root, step, content(step))
    disk = Disk(root)
    with disk.between():
        checkpoint.newest_good(root)
    assert disk.count == 3  # the manifest and two files
    for fail_at in (1, 2, 3):
        with Disk(root, "EIO", fail_at).between():
            assert checkpoint.newest_good(root) == root / "step_000001"


def test_the_power_model_notices_a_save_that_does_not_sync(folder, monkeypatch):
    monkeypatch.setattr(checkpoint, "sync", lambda path: None)
    _, broken = broken_outcomes(folder, the_same_step_again, "power")
    assert broken


def test_a_failed_save_says_what_is_missing_and_leaves_no_temporary_files(folder):
    root = folder / "training_state"
    checkpoint.save(root, 1, content(1))
    with Disk(root, "full from here on", 3).between(), pytest.raises(RunError) as caught:
        checkpoint.save(root, 2, content(2))
    assert "step_000002 could not be written: No space left on device" in str(caught.value)
    assert "MB are free" in str(caught.value)
    assert sorted(p.name for p in root.iterdir()) == ["step_000001", "step_latest"]


def test_an_error_of_the_writer_itself_is_not_called_a_full_disk(folder):
    def write(directory: Path) -> None:
        raise KeyError("optimizer")

    with pytest.raises(KeyError, match="optimizer"):
        checkpoint.save(folder, 1, write)
    assert list(folder.iterdir()) == []


def test_an_interruption_while_saving_leaves_no_temporary_files(folder):
    def write(directory: Path) -> None:
        (directory / "half.json").write_text("{")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(folder, 1, write)
    assert list(folder.iterdir()) == []


def big(value: int) -> Callable[[Path], None]:
    tensors = {"weights": torch.full((25_000,), float(value))}  # 100 kB

    def write(directory: Path) -> None:
        write_tensors(directory / "model.safetensors", tensors)
        write_json(directory / "state.json", {"value": value})

    return write


def big_value_in(path: Path) -> int:
    weights = read_tensors(path / "model.safetensors")["weights"]
    value = read_json(path / "state.json")["value"]
    assert weights.eq(float(value)).all(), f"{path} is a mix"
    return int(value)


def test_a_size_limit_of_the_system_stops_a_tensor_file_and_keeps_the_checkpoint_before(folder):
    root = folder / "training_state"
    checkpoint.save(root, 1, content(1))
    if (child := os.fork()) == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        try:
            checkpoint.save(root, 2, big(2))
        except RunError as error:
            os._exit(0 if "File too large" in str(error) else 2)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(p.name for p in root.iterdir()) == ["step_000001", "step_latest"]


def test_a_really_full_disk_keeps_the_checkpoint_before(folder):
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", folder]).returncode:
        pytest.skip("mounting a small disk needs rights")
    try:
        root = folder / "training_state"
        checkpoint.save(root, 1, big(1))
        for _ in range(3):
            with pytest.raises(RunError, match="No space left on device"):
                checkpoint.save(root, 2, big(2))
        assert big_value_in(checkpoint.find(root, "latest")) == 1
        assert sorted(p.name for p in root.iterdir()) == ["step_000001", "step_latest"]
    finally:
        subprocess.run(["umount", folder], check=True)


def save_forever(root: Path, report: int) -> None:
    """Continues from the newest checkpoint: saves each step, some twice, prunes, and reports what is done."""
    checkpoint.clean(root)
    newest = checkpoint.newest_good(root)
    step = 0 if newest is None else big_value_in(newest)
    while True:
        step += 1
        checkpoint.save(root, step, big(step))
        os.write(report, step.to_bytes(4, "big"))
        if step % 3 == 0:
            checkpoint.save(root, step, big(step))
        checkpoint.prune(root, keep=2)


def killed_at_random(root: Path, kills: int) -> int:
    """Kills a saving process again and again; returns the number of checkpoints that it completed."""
    rng = random.Random(7)
    done = 0
    for kill in range(kills):
        read_end, write_end = os.pipe()
        if (child := os.fork()) == 0:
            try:
                save_forever(root, write_end)
            finally:
                os._exit(1)
        os.close(write_end)
        told = os.read(read_end, 4) if kill % 2 else b""  # every second child has saved something
        time.sleep(rng.uniform(0.002, 0.05))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        with os.fdopen(read_end, "rb") as reports:
            told += reports.read()
        done = int.from_bytes(told[-4:], "big") if told else done
        newest = checkpoint.newest_good(root)
        found = 0 if newest is None else big_value_in(newest)
        assert done <= found <= done + 1  # one may be complete but not yet reported
        done = found
    return done


def test_25_kills_at_random_moments_lose_no_completed_checkpoint(folder):
    assert killed_at_random(folder / "training_state", 25) >= 12


@pytest.mark.slow
def test_500_kills_at_random_moments_lose_no_completed_checkpoint(folder):
    assert killed_at_random(folder / "training_state", 500) >= 250
