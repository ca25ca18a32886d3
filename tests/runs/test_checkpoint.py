from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from whet.errors import RunError
from whet.runs import checkpoint
from whet.runs.files import read_json, read_tensors, write_json, write_tensors

FILES = ["manifest.json", "model/model.safetensors", "optimizer.safetensors", "state.json"]


def content(value: float) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        (directory / "model").mkdir()
        tensors = {"b": torch.full((40,), value), "a": torch.full((3, 3), -value)}
        write_tensors(directory / "model" / "model.safetensors", tensors)
        write_tensors(directory / "optimizer.safetensors", {"exp_avg": torch.full((40,), value / 2)})
        write_json(directory / "state.json", {"value": value, "log_size_bytes": 100 + int(value)})

    return write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Checkpoints of steps 1 and 2 of a run."""
    found = tmp_path / "run" / "training_state"
    for step in (1, 2):
        checkpoint.save(found, step, content(step), about={"config": "abc"})
    return found


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.flatten().view(torch.uint8).numpy().tobytes()


def names(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir())


def test_a_checkpoint_inside_a_step_is_named_after_its_updates():
    assert checkpoint.name(10) == "step_000010"
    assert checkpoint.name(11, update=3) == "step_000011_update_000003"
    assert checkpoint.name(12345678) == "step_12345678"


def test_the_manifest_lists_the_size_and_hash_of_every_file(root):
    files = json.loads((root / "step_000002" / "manifest.json").read_text())["files"]
    assert sorted(files) == FILES[1:]
    for file, facts in files.items():
        raw = (root / "step_000002" / file).read_bytes()
        assert facts == {"size_bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def test_the_manifest_gives_back_what_was_said_about_the_checkpoint(root):
    checkpoint.save(root, 3, content(3), update=4, about={"versions": {"torch": "2.13"}})
    found = checkpoint.manifest(root / "step_000003_update_000004")
    assert (found.step, found.update, found.about) == (3, 4, {"versions": {"torch": "2.13"}})


def test_equal_content_gives_byte_equal_checkpoints(root, tmp_path):
    again = tmp_path / "elsewhere" / "training_state"
    checkpoint.save(again, 2, content(2), about={"config": "abc"})
    for file in FILES:
        assert (again / "step_000002" / file).read_bytes() == (root / "step_000002" / file).read_bytes()


def test_a_file_of_tensors_does_not_depend_on_their_order(tmp_path):
    a, b = torch.arange(3.0), torch.arange(4)
    write_tensors(tmp_path / "1", {"a": a, "b": b})
    write_tensors(tmp_path / "2", {"b": b, "a": a})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_tensors_come_back_bit_for_bit_with_their_types_and_shapes(tmp_path):
    tensors = {
        "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
        "half": torch.tensor([[1.5], [2.5]], dtype=torch.bfloat16),
        "transposed": torch.arange(6).reshape(2, 3).T,
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }
    write_tensors(tmp_path / "t", tensors)
    found = read_tensors(tmp_path / "t")
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert raw(found[name]) == raw(tensor)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, torch.zeros(1)])
def test_state_that_json_cannot_hold_is_refused(tmp_path, value):
    with pytest.raises(RunError, match="expected finite numbers"):
        write_json(tmp_path / "state.json", {"x": value})


def test_an_update_inside_a_step_comes_after_the_step_before_and_before_the_whole_step(root):
    for step, update in [(3, 0), (3, 10), (3, 2), (10, 0)]:
        checkpoint.save(root, step, content(step), update=update)
    order = [p.name for p in checkpoint.steps(root)]
    assert order[2:] == [
        "step_000003_update_000002",
        "step_000003_update_000010",
        "step_000003",
        "step_000010",
    ]


def test_saving_a_step_again_replaces_it(root):
    checkpoint.save(root, 2, content(22))
    assert read_json(root / "step_000002" / "state.json")["value"] == 22
    assert names(root) == ["step_000001", "step_000002", "step_latest"]


def test_latest_is_a_relative_link(root):
    assert str((root / "step_latest").readlink()) == "step_000002"


def test_latest_does_not_rely_on_its_link(root):
    (root / "step_latest").unlink()
    assert checkpoint.find(root, "latest").name == "step_000002"


# -- damage -----------------------------------------------------------------------------------------------------


def flips(raw: bytes) -> list[bytes]:
    """One bit flipped, at 20 places from the first byte to the last."""
    damaged = []
    for i in range(20):
        at = i * (len(raw) - 1) // 19
        damaged.append(raw[:at] + bytes([raw[at] ^ (1 << i % 8)]) + raw[at + 1 :])
    return damaged


def truncations(raw: bytes) -> list[bytes]:
    return [raw[:size] for size in (0, 1, len(raw) // 2, len(raw) * 99 // 100, len(raw) - 1)]


@pytest.mark.parametrize("file", FILES)
def test_every_flipped_bit_and_lost_byte_is_found_and_named(root, file):
    path = root / "step_000002" / file
    raw = path.read_bytes()
    other = (root / "step_000001" / file).read_bytes()
    damaged = [*flips(raw), *truncations(raw), other, raw + b"\0", raw + b"\n", b"\0" * len(raw)]
    assert raw not in damaged
    for bad in damaged:
        path.write_bytes(bad)
        with pytest.raises(RunError) as caught:
            checkpoint.verify(root / "step_000002")
        assert str(path) in str(caught.value)
        assert checkpoint.newest_good(root) == root / "step_000001"
    path.write_bytes(raw)
    checkpoint.verify(root / "step_000002")


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_found_and_named(root, file):
    (root / "step_000002" / file).unlink()
    with pytest.raises(RunError, match="is missing") as caught:
        checkpoint.verify(root / "step_000002")
    assert str(root / "step_000002" / file) in str(caught.value)
    assert checkpoint.newest_good(root) == root / "step_000001"


def test_a_file_that_the_manifest_does_not_list_is_refused(root):
    (root / "step_000002" / "model" / "pytorch_model.bin").write_bytes(b"?")
    with pytest.raises(RunError, match=r"model/pytorch_model\.bin does not belong to the checkpoint"):
        checkpoint.verify(root / "step_000002")


def test_a_directory_renamed_to_another_step_is_refused(root):
    (root / "step_000002").rename(root / "step_000009")
    with pytest.raises(RunError, match="belongs to step_000002, not to step_000009"):
        checkpoint.verify(root / "step_000009")


def test_a_manifest_that_was_changed_by_hand_is_refused(root):
    path = root / "step_000002" / "manifest.json"
    path.write_text(path.read_text().replace('"abc"', '"abd"'))
    with pytest.raises(RunError, match="its digest does not fit"):
        checkpoint.verify(root / "step_000002")


def test_falling_back_names_every_damaged_file_on_the_way(root, caplog):
    checkpoint.save(root, 3, content(3))
    (root / "step_000003" / "state.json").write_text("{}")
    (root / "step_000002" / "optimizer.safetensors").unlink()
    assert checkpoint.newest_good(root) == root / "step_000001"
    assert [str(root / "step_000003" / "state.json") in caplog.messages[0], len(caplog.messages)] == [True, 2]
    assert str(root / "step_000002" / "optimizer.safetensors") in caplog.messages[1]


def test_a_damaged_checkpoint_asked_for_by_name_is_refused_with_the_others_listed(root):
    (root / "step_000002" / "state.json").write_text("{}")
    for spec in (2, "2", "step_000002"):
        with pytest.raises(RunError, match=r"state\.json is damaged.*Checkpoints there: 1, 2"):
            checkpoint.find(root, spec)


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("file", [*FILES, "optimizer.pt", "rng_state.pth", "model/pytorch_model.bin"])
def test_a_malicious_pickle_is_refused_and_never_run(root, tmp_path, file):
    marker = tmp_path / "marker"
    path = root / "step_000002" / file
    for payload in (pickle.dumps(Payload(marker)), b"PK\x03\x04" + pickle.dumps(Payload(marker))):
        path.write_bytes(payload)
        with pytest.raises(RunError):
            checkpoint.find(root, 2)
        for read in (read_json, read_tensors):
            with pytest.raises(RunError, match=path.name):
                read(path)
    assert not marker.exists()
    pickle.loads(payload[4:])
    assert marker.exists()  # the payload works where something unpickles it


# -- finding ----------------------------------------------------------------------------------------------------


def test_final_best_and_numbers_find_their_checkpoints(root):
    checkpoint.mark_final(root, root / "step_000001")
    assert checkpoint.find(root, "final") == root / "step_000001"
    assert checkpoint.find(root, "best", best=1) == root / "step_000001"
    assert checkpoint.find(root, 2) == root / "step_000002"
    assert checkpoint.find(root, "000002") == root / "step_000002"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("final", "no checkpoint 'final'. Checkpoints there: 1, 2"),
        ("best", "no evaluation chose one. Checkpoints there: 1, 2"),
        (7, "no checkpoint 7. Checkpoints there: 1, 2"),
        ("newest", "expected latest, final, best or a step, found 'newest'"),
        ("../../etc", "expected latest, final, best or a step"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_refused_with_a_list(root, spec, message):
    with pytest.raises(RunError) as caught:
        checkpoint.find(root, spec)
    assert message in str(caught.value)


def test_a_run_without_checkpoints_says_so(tmp_path):
    with pytest.raises(RunError, match=r"no checkpoint that can be used\. Checkpoints there: none"):
        checkpoint.find(tmp_path / "training_state", "latest")


def test_a_checkpoint_that_stepped_aside_is_still_found(root):
    (root / "step_000002").rename(root / "step_000002.old")
    assert checkpoint.newest_good(root) == root / "step_000002.old"
    assert checkpoint.find(root, 2) == root / "step_000002.old"
    checkpoint.clean(root)
    assert names(root) == ["step_000001", "step_000002", "step_latest"]


# -- retention --------------------------------------------------------------------------------------------------


def save_up_to(root: Path, last: int) -> None:
    for step in range(3, last + 1):
        checkpoint.save(root, step, content(step))


def test_pruning_keeps_the_newest_the_best_and_the_final_one(root):
    save_up_to(root, 6)
    checkpoint.mark_final(root, root / "step_000003")
    removed = checkpoint.prune(root, keep=2, best=1)
    assert [p.name for p in removed] == ["step_000004", "step_000002"]
    assert [p.name for p in checkpoint.steps(root)] == [
        "step_000001",
        "step_000003",
        "step_000005",
        "step_000006",
    ]


def test_pruning_does_not_count_damaged_checkpoints(root):
    save_up_to(root, 5)
    for step in (4, 5):
        (root / checkpoint.name(step) / "state.json").write_text("{}")
    checkpoint.prune(root, keep=1)
    assert checkpoint.newest_good(root) == root / "step_000003"
    assert not (root / "step_000002").exists()


@pytest.mark.parametrize("keep", [0, 1])
def test_pruning_never_removes_the_only_good_checkpoint(root, keep):
    save_up_to(root, 4)
    for step in (2, 3, 4):
        (root / checkpoint.name(step) / "optimizer.safetensors").unlink()
    checkpoint.prune(root, keep=keep)
    assert checkpoint.newest_good(root) == root / "step_000001"


def test_a_run_that_goes_another_way_drops_the_later_checkpoints_and_the_links_to_them(root):
    save_up_to(root, 4)
    checkpoint.mark_final(root, root / "step_000004")
    dropped = checkpoint.discard_after(root, root / "step_000002")
    assert [p.name for p in dropped] == ["step_000003", "step_000004"]
    assert names(root) == ["step_000001", "step_000002"]


def test_cleaning_removes_what_killed_processes_left_and_nothing_else(root):
    shutil.copytree(root / "step_000002", root / ".tmp-step_000003-123")
    (root / ".tmp-step_latest-123").symlink_to("step_000001")
    (root / "notes.txt").write_text("mine")
    checkpoint.clean(root)
    assert names(root) == ["notes.txt", "step_000001", "step_000002", "step_latest"]
    assert checkpoint.find(root, "latest") == root / "step_000002"
