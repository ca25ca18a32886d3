"""Runs in W&B: what it is asked for, and that it really starts, offline."""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import tiny
from whet.errors import ConfigError, RunError
from whet.tracking.open import RunView, build_trackers, check_trackers
from whet.tracking.wandb import ROWS
from whet.training import launch

SECRET = "planted0123456789planted0123456789planted0"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory without any key or login of the machine."""
    monkeypatch.chdir(tmp_path)
    for name in ("API_KEY", "PROJECT", "ENTITY", "MODE", "BASE_URL", "NAME", "RUN_GROUP", "TAGS"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "wandb home"))
    return tmp_path


class Opened:
    """In place of a W&B run."""

    def __init__(self, **asked):
        self.asked, self.rows, self.defined, self.exit_code = asked, [], [], None
        self.entity, self.url, self.dir = asked["entity"] or "default-team", "https://x/y", "dir"

    def define_metric(self, name, **how):
        self.defined.append((name, how))

    def log(self, row):
        self.rows.append(row)

    def finish(self, exit_code):
        self.exit_code = exit_code


@pytest.fixture
def wandb(place, monkeypatch):
    """In place of the package: every run that was opened, and what a table holds."""
    module = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None, origin="here")
    module.opened = []
    module.init = lambda **asked: module.opened.append(Opened(**asked)) or module.opened[-1]
    module.Settings = SimpleNamespace
    module.Table = lambda columns, data: (columns, data)
    base = SimpleNamespace(
        mode="online", base_url="http://127.0.0.1:9", api_key=None, identity_token_file=None
    )
    module.setup = lambda: SimpleNamespace(settings=base)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def view(directory, resume_step=None):
    directory.mkdir(exist_ok=True)
    return RunView(
        directory=directory,
        train_log=directory / "log.jsonl",
        tensorboard=directory / "tb",
        resume_step=resume_step,
    )


def opened(wandb, directory, **more):
    (tracker,) = build_trackers(["wandb"], view(directory, **more))
    return tracker.tracker, wandb.opened[-1]


def test_a_run_is_named_after_its_directory_in_the_project_whet(wandb, place):
    asked = opened(wandb, place / "run_x")[1].asked
    assert (asked["name"], asked["project"], asked["entity"], asked["mode"]) == (
        "run_x",
        "whet",
        None,
        "online",
    )
    assert asked["dir"] == str(place / "run_x")


def test_the_settings_come_from_the_file_and_the_environment_wins(wandb, place, monkeypatch):
    (place / ".env").write_text(
        f"WANDB_API_KEY={SECRET}\nWANDB_PROJECT=p\nWANDB_ENTITY=e\nWANDB_NAME=n\nWANDB_RUN_GROUP=g\nWANDB_TAGS=a,b\n"
    )
    monkeypatch.setenv("WANDB_PROJECT", "outside")
    asked = opened(wandb, place / "run_x")[1].asked
    assert [asked[k] for k in ("project", "entity", "name", "group")] == ["outside", "e", "n", "g"]
    assert asked["tags"] == ["a", "b"]
    assert asked["settings"].api_key == SECRET


def test_nothing_of_the_machine_is_told(wandb, place):
    settings = opened(wandb, place / "run_x")[1].asked["settings"]
    assert (settings.x_disable_meta, settings.disable_git, settings.disable_code) == (True, True, True)
    assert settings.console == "off"


def test_the_config_of_the_run_is_attached(wandb, place):
    run = view(place / "run_x")
    (run.directory / "config.yaml").write_text("max_steps: 7\ntask: {name: echo}\n")
    build_trackers(["wandb"], run)
    assert wandb.opened[0].asked["config"] == {"max_steps": 7, "task": {"name": "echo"}}


def test_a_config_with_a_key_in_it_is_not_sent(wandb, place, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    run = view(place / "run_x")
    (run.directory / "config.yaml").write_text(f"task: {{path: {SECRET}}}\n")
    with pytest.raises(RunError, match="holds the value of WANDB_API_KEY") as caught:
        build_trackers(["wandb"], run)
    assert SECRET not in str(caught.value)
    assert wandb.opened == []


def test_a_resumed_run_continues_the_same_one_whatever_the_project_is_called_now(wandb, place, monkeypatch):
    first = opened(wandb, place / "run_x")[1].asked
    monkeypatch.setenv("WANDB_PROJECT", "another")
    second = opened(wandb, place / "run_x", resume_step=5)[1].asked
    assert [second[k] for k in ("id", "project", "entity")] == [first["id"], "whet", "default-team"]
    assert second["resume"] == "allow"
    third = opened(wandb, place / "run_y")[1].asked
    assert third["id"] != first["id"]
    assert third["project"] == "another"


def test_step_is_the_axis_so_that_a_run_that_went_back_loses_nothing(wandb, place):
    tracker, run = opened(wandb, place / "run_x")
    for step in (4, 5, 5, 3):  # 3: from an earlier checkpoint
        tracker.log(step, {"reward/mean": 0.5})
    assert [row["step"] for row in run.rows] == [4, 5, 5, 3]
    assert ("*", {"step_metric": "step"}) in run.defined


def write_rollouts(directory, steps, per_step):
    rows = [
        {"step": s, "prompt": "p" * 40, "text": f"{s}-{i}", "reward": i / 2}
        for s in steps
        for i in range(per_step)
    ]
    (directory / "logs").mkdir(exist_ok=True)
    (directory / "logs" / "rollouts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def test_completions_are_shown_with_an_evaluation_and_once_at_the_end(wandb, place):
    tracker, run = opened(wandb, place / "run_x")
    write_rollouts(place / "run_x", (1, 2), 2)
    tracker.log(2, {"progress/epoch": 0.5, "reward/mean": 0.25})
    assert "completions" not in run.rows[-1]
    tracker.log(2, {"progress/epoch": 0.5, "eval/echo/pass@1": 0.25})
    columns, data = run.rows[-1]["completions"]
    assert columns == ["epoch", "step", "prompt", "completion", "reward"]
    assert data[-1] == [0.5, 2, "p" * 40, "2-1", 0.5]
    tracker.close()
    assert len(run.rows) == 2  # they have been shown


def test_the_table_is_the_end_of_a_log_however_long_it_is(wandb, place):
    tracker, run = opened(wandb, place / "run_x")
    write_rollouts(place / "run_x", range(2000), 3)
    tracker.log(1999, {"reward/mean": 0.25})
    tracker.close()
    assert [row[3] for row in run.rows[-1]["completions"][1]][-4:] == ["1998-2", "1999-0", "1999-1", "1999-2"]
    assert len(run.rows[-1]["completions"][1]) == ROWS


@pytest.mark.parametrize(("state", "code"), [("finished", 0), ("stopped", 0), ("failed", 1)])
def test_it_ends_as_the_run_ended(wandb, place, state, code):
    tracker, run = opened(wandb, place / "run_x")
    (place / "run_x" / "summary.json").write_text(json.dumps({"state": state}))
    tracker.close()
    assert run.exit_code == code


def test_without_a_key_a_run_is_refused_with_every_way_out(wandb, place):
    with pytest.raises(ConfigError) as caught:
        check_trackers(["wandb"])
    for way in ("wandb login", "WANDB_API_KEY=", ".env", "WANDB_MODE=offline", "leave wandb out"):
        assert way in str(caught.value)


def test_with_a_key_and_nobody_there_a_run_is_refused(wandb, place, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    with pytest.raises(ConfigError, match=r"cannot reach http://127.0.0.1:9 .*WANDB_MODE=offline") as caught:
        check_trackers(["wandb"])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("machine", ["127.0.0.1:9", "api.wandb.ai"])
def test_the_login_of_wandb_is_a_key(wandb, place, machine):
    (place / "netrc").write_text(f"machine {machine}\n  login user\n  password {SECRET}\n")
    with pytest.raises(ConfigError, match="cannot reach"):  # and not: no key
        check_trackers(["wandb"])


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_offline_needs_no_key_and_no_network(wandb, place, mode):
    (place / ".env").write_text(f"WANDB_MODE={mode}\n")
    check_trackers(["wandb"])


def test_an_unknown_mode_is_refused(wandb, place, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "off")
    with pytest.raises(ConfigError, match="WANDB_MODE is 'off'; expected online, offline or disabled"):
        check_trackers(["wandb"])


def test_a_run_that_cannot_be_tracked_is_not_even_made(wandb, place):
    with pytest.raises(ConfigError, match="wandb has no key"):
        launch.start(tiny.config(place / "runs", trackers=["jsonl", "wandb"]))
    assert not (place / "runs").exists()


def test_a_start_that_fails_ends_the_run_before_step_1_with_the_fix_and_without_the_key(
    wandb, place, monkeypatch
):
    def refuse(**asked):
        raise ConnectionError(f"401: {SECRET} is no key")

    wandb.init = refuse
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setattr("whet.tracking.wandb.why_unreachable", lambda url: None)
    with pytest.raises(RunError, match=r"401: .* is no key.*WANDB_MODE=offline") as caught:
        launch.start(tiny.config(place / "runs", trackers=["jsonl", "wandb"]))
    assert SECRET not in str(caught.value)
    (run,) = (place / "runs").iterdir()
    assert json.loads((run / "summary.json").read_text())["state"] == "failed"
    assert (run / "logs" / "train_log.jsonl").read_text() == ""
    assert holders(place) == []


def test_a_tracker_that_fails_later_leaves_the_run_and_its_weights_alone(wandb, place, monkeypatch, caplog):
    def broken(self, row):
        if row["step"] >= 2:
            raise ConnectionError("gone")

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(Opened, "log", broken)
    plain = launch.start(tiny.config(place / "plain", max_steps=3))
    tracked = launch.start(tiny.config(place / "tracked", max_steps=3, trackers=["jsonl", "wandb"]))
    assert tiny.outcome(tracked) == tiny.outcome(plain)
    assert len([m for m in caplog.messages if m.startswith("tracker wandb did not take step 2")]) == 1


def holders(root: Path) -> list[str]:
    """The files below a directory that hold the planted key."""
    return [
        p.relative_to(root).as_posix()
        for p in sorted(root.rglob("*"))
        if p.is_file() and SECRET.encode() in p.read_bytes()
    ]


def test_a_tracked_run_holds_no_key_resumes_as_one_and_trains_to_the_same_bits(
    place, monkeypatch, capfd, caplog
):
    package = pytest.importorskip("wandb")
    (place / ".env").write_text(f"WANDB_API_KEY={SECRET}\nWANDB_MODE=offline\nWANDB_PROJECT=tiny\n")
    monkeypatch.setattr(sys, "argv", ["whet", "train", f"token={SECRET}", SECRET])
    plain = launch.start(tiny.config(place / "plain", max_steps=2))
    try:
        run = launch.start(tiny.config(place / "runs", max_steps=2, trackers=["jsonl", "wandb"]))
        assert tiny.outcome(run) == tiny.outcome(plain)
        launch.resume(run, additional_steps=1)
    finally:
        package.teardown()
    assert json.loads(run.environment.read_text())["command"] == ["whet", "train", "token=***", "***"]
    sittings = sorted((run.path / "wandb").glob("offline-run-*/run-*.wandb"))
    known = json.loads((run.path / "wandb.json").read_text())
    assert [s.name for s in sittings] == [f"run-{known['id']}.wandb"] * 2
    assert all(b"reward/mean" in s.read_bytes() for s in sittings)
    assert known["project"] == "tiny"
    assert holders(place) == [".env"]
    out, err = capfd.readouterr()
    assert SECRET not in out + err + caplog.text
    assert f"wandb {run.path}" in out
