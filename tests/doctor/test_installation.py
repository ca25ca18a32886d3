"""The rows about a machine."""

import threading
from pathlib import Path

import pytest

from whet import compiled, keys
from whet.doctor import installation
from whet.errors import ConfigError

SECRET = "planted-0123456789"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory, a network that does not answer, and no tracker to ask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keys, "_told", set())
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(installation, "why_unreachable", lambda url: "no such host")
    monkeypatch.setattr(installation, "check_trackers", lambda names: None)
    return tmp_path


def row(what, root=Path("runs")):
    (found,) = [r for r in installation.findings(root) if r.what == what]
    return found


def test_a_machine_in_order_has_a_row_for_everything_and_no_failure(place):
    rows = installation.findings(place / "runs")
    assert [r.what for r in rows if r.status == "FAIL"] == []
    assert {"Python", "whet", "torch", "device", "memory", "disk", "git", "code in C", ".env", "Hub"} <= {
        r.what for r in rows
    }
    assert all(r.next_step for r in rows if r.status != "OK")
    assert not (place / "runs").exists()


def test_a_hub_that_answers_is_ok_and_one_that_does_not_is_a_warning(place, monkeypatch):
    assert row("Hub").status == "WARN"
    assert "cannot be reached (no such host), token: no" in row("Hub").found
    monkeypatch.setattr(installation, "why_unreachable", lambda url: None)
    assert (row("Hub").status, row("Hub").found) == ("OK", "https://huggingface.co answers, token: no")


def test_offline_the_hub_is_not_asked(place, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(installation, "why_unreachable", lambda url: pytest.fail("it was asked"))
    assert row("Hub").found == "HF_HUB_OFFLINE is set: only what is in the cache is found, token: no"


def test_of_a_token_only_its_presence_is_told(place, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert "token: yes" in row("Hub").found
    monkeypatch.delenv("HF_TOKEN")
    (place / "hf").mkdir()
    (place / "hf" / "token").write_text(SECRET)
    assert "token: yes" in row("Hub").found
    assert not any(SECRET in r.found + r.next_step for r in installation.findings(place))


def test_the_keys_of_the_file_are_named_and_not_shown(place):
    (place / ".env").write_text(f"WANDB_API_KEY={SECRET}\nWANDB_PROJECT=p\nEMPTY=\n")
    assert (row(".env").status, row(".env").found) == ("OK", "WANDB_API_KEY, WANDB_PROJECT")


def test_two_values_of_one_key_fail(place):
    (place / ".env").write_text("HF_TOKEN=a\nHF_TOKEN=b\n")
    assert row(".env").status == "FAIL"
    assert "lines 1 and 2 give HF_TOKEN different values" in row(".env").found


def test_a_key_that_differs_in_the_environment_is_a_warning(place, monkeypatch):
    (place / ".env").write_text("WANDB_PROJECT=a\n")
    monkeypatch.setenv("WANDB_PROJECT", "b")
    assert (row(".env").status, row(".env").found) == (
        "WARN",
        "WANDB_PROJECT differ in the environment, which wins",
    )


def test_a_place_for_runs_that_is_a_file_fails(place):
    (place / "runs").write_text("")
    assert row("disk", place / "runs").status == "FAIL"


@pytest.mark.parametrize(("free", "status"), [(4.9e9, "WARN"), (5.1e9, "OK")])
def test_little_room_for_runs_is_a_warning(place, monkeypatch, free, status):
    monkeypatch.setattr(installation, "disk_bytes", lambda path: free)
    assert row("disk").status == status


@pytest.mark.parametrize(("free", "status"), [(1.9e9, "WARN"), (2.1e9, "OK")])
def test_little_memory_is_a_warning(place, monkeypatch, free, status):
    monkeypatch.setattr(installation, "memory_bytes", lambda: (free, 8e9))
    assert (row("memory").status, row("memory").found) == (status, f"{free / 1e9:.1f} GB of 8 GB free")


def test_without_git_a_run_does_not_know_its_commit(place, monkeypatch):
    monkeypatch.setenv("PATH", str(place))
    assert row("git").status == "WARN"


def test_a_python_that_is_too_old_fails(place, monkeypatch):
    monkeypatch.setattr(installation.platform, "python_version", lambda: "3.10.4")
    assert row("Python").status == "FAIL"
    assert ">=3.11" in row("Python").next_step


def test_a_driver_without_a_torch_that_uses_it_is_a_warning(place, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(installation.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert row("device").status == "WARN"
    assert "CUDA build" in row("device").next_step


def test_a_tracker_that_could_not_start_is_a_warning_with_its_fix(place, monkeypatch):
    def refuse(names):
        if names == ["wandb"]:
            raise ConfigError("trackers: wandb has no key: run `wandb login`")

    monkeypatch.setattr(installation, "check_trackers", refuse)
    monkeypatch.setattr(installation.extras, "lacks", lambda extra: [])
    assert "wandb login" in row("tracker wandb").found
    assert (row("tracker wandb").status, row("tracker trackio").status) == ("WARN", "OK")


def test_services_are_waited_for_side_by_side(place, monkeypatch):
    both = threading.Barrier(2, timeout=10)  # whoever comes first waits for the other
    monkeypatch.setattr(installation, "why_unreachable", lambda url: both.wait() and None)
    monkeypatch.setattr(installation, "check_trackers", lambda names: both.wait())
    monkeypatch.setattr(installation.extras, "lacks", lambda extra: [] if extra == "wandb" else [extra])
    installation.findings(place)
    assert not both.broken


def test_a_machine_without_a_compiler_is_told_what_it_lacks(place, monkeypatch):
    monkeypatch.setattr(compiled, "load", lambda name: None)
    found = row("code in C")
    assert (found.status, found.found) == ("WARN", "not compiled")
    assert found.next_step.startswith("install gcc or clang")
    monkeypatch.setenv("WHET_COMPILE", "0")
    assert (row("code in C").found, row("code in C").next_step[:8]) == (
        "WHET_COMPILE=0 turns it off",
        "unset it",
    )
