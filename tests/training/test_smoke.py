"""The short trial of a job: what it trains, what it finds damaged, and what it leaves behind."""

import contextlib
import io
import json
import shutil
import subprocess
import sys

import pytest

from whet import cli
from whet.config import load_config
from whet.errors import ConfigError
from whet.runs.directory import list_runs
from whet.training import launch
from whet.training import smoke as module
from whet.training.smoke import CHECKS, Trial, smoke, smoke_config


def in_process(arguments, advice):
    """As `_whet`, in this process: a child takes seconds to load torch."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        cli.main(arguments)
    if end.value.code:
        raise module._Failed(err.getvalue(), advice)
    return out.getvalue()


def draw(run):
    run.plots.mkdir(exist_ok=True)
    (run.plots / "training.png").write_bytes(b"\x89PNG")


@pytest.fixture
def quick(monkeypatch):
    """All checks but the evaluation, whose children `whet eval` starts itself; a picture is drawn in no time."""
    monkeypatch.setattr(module, "_whet", in_process)
    monkeypatch.setattr(launch, "plot_run", draw)
    monkeypatch.setattr(module, "CHECKS", tuple(c for c in CHECKS if c[0] != "evaluate"))


@pytest.fixture
def config(tiny_config, tmp_path):
    return smoke_config(
        [{**tiny_config, "max_steps": 50, "save_every": 0, "runs_root": str(tmp_path / "runs")}]
    )


@pytest.fixture
def trial(own_run, tmp_path):
    """A finished run as a trial, which a test may damage."""
    root = tmp_path / "smoke_x"
    root.mkdir()
    shutil.move(own_run, root / own_run.name)
    trial = Trial(load_config([root / own_run.name / "config.yaml"]), root)
    shutil.copy(trial.run.config, trial.job)
    return trial


def failures(trial):
    """What the checks that read files find, by name."""
    found = {}
    for name, look in CHECKS:
        if name not in ("train", "evaluate", "resume"):
            try:
                look(trial)
            except (module._Failed, module.WhetError) as error:
                found[name] = str(error)
    return found


def test_two_steps_with_a_checkpoint_each_whatever_the_job_says(config):
    assert (config.max_steps, config.save_every, config.warm_start.steps, config.eval.limit) == (2, 1, 2, 8)


def test_a_setting_of_ones_own_wins_over_the_overlay(tiny_config):
    assert smoke_config([tiny_config], ["max_steps=3", "eval.limit=4"]).max_steps == 3


def test_a_job_without_a_warm_start_gets_none(tiny_config):
    assert smoke_config([{**tiny_config, "warm_start": None}]).warm_start is None


def test_the_log_is_written_and_the_console_is_quiet_whatever_trackers_the_job_has(tiny_config):
    settings = {**tiny_config, "trackers": ["console", "tensorboard"]}
    assert smoke_config([settings]).trackers == ("jsonl", "tensorboard")


def test_a_job_that_works_passes_every_check_and_leaves_nothing_behind(quick, config, tmp_path):
    begun, seen = [], []
    checks, kept = smoke(config, False, seen.append, begun.append)
    assert {c.name: c.ok for c in checks} == dict.fromkeys((n for n, _ in CHECKS if n != "evaluate"), True)
    assert seen == checks
    assert begun == [c.name for c in checks]
    assert kept is None
    assert not (tmp_path / "runs").exists()


def test_a_kept_trial_is_resumed_and_is_not_among_the_runs(quick, config, tmp_path):
    _, kept = smoke(config, True)
    (run,) = list_runs(kept)
    assert run.summary()["steps"] == 3
    assert list_runs(tmp_path / "runs") == []


def test_other_runs_are_left_alone(quick, config, tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    smoke(config, False)
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["mine"]


def test_a_job_that_cannot_train_says_why_and_is_kept(quick, config, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def broken(text, answer):\n    return 1.0 if text == answer else float('nan')\n"
    )
    task = config.task.model_copy(update={"verifier": None})
    broken = load_config(
        [config.model_dump(mode="json"), {"task": task.model_dump(mode="json")}],
        [f"task.verifier={tmp_path}/mine.py:broken", "eval.at_start=false"],
    )
    checks, kept = smoke(broken, False)
    assert (checks[0].name, checks[0].ok) == ("train", False)
    assert "rewards failed on our side" in checks[0].detail
    assert "--dry-run" in checks[0].advice
    assert {c.ok for c in checks[1:]} == {None}
    assert len(list_runs(kept)) == 1


def test_a_whole_run_has_no_failures(trial):
    assert failures(trial) == {}


def test_a_flipped_byte_in_a_checkpoint_is_found(trial):
    file = trial.run.training_state / "step_000001/model/model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert set(failures(trial)) == {"checkpoints"}
    assert "model.safetensors is damaged" in failures(trial)["checkpoints"]


def test_a_missing_checkpoint_is_found(trial):
    shutil.rmtree(trial.run.training_state / "step_000001")
    assert "step_000001 missing" in failures(trial)["checkpoints"]


@pytest.mark.parametrize("link", ["step_latest", "step_final"])
def test_a_link_that_leads_elsewhere_is_found(trial, link):
    path = trial.run.training_state / link
    path.unlink()
    path.symlink_to("step_000001")
    assert failures(trial) == {"links": f"{link}: expected a relative link to step_000002, found step_000001"}
    path.unlink()
    assert failures(trial)["links"].endswith("found no link")


def test_a_lost_line_of_the_log_is_found(trial):
    lines = trial.run.train_log.read_text().splitlines(keepends=True)
    trial.run.train_log.write_text("".join(line for line in lines if json.loads(line)["step"] != 1))
    assert failures(trial) == {"log": "expected a line per step, found steps [2]"}


def test_a_loss_that_is_not_finite_is_found(trial):
    records = [json.loads(line) for line in trial.run.train_log.read_text().splitlines()]
    for record in records:
        if record["step"] == 2 and "loss/policy" in record:
            record["loss/policy"] = None
    trial.run.train_log.write_text("".join(json.dumps(r) + "\n" for r in records))
    assert failures(trial) == {"log": "not finite: loss/policy of step 2"}


def test_rewards_that_are_all_the_same_are_said_and_fail_nothing(trial):
    records = [json.loads(line) for line in trial.run.rollouts_log.read_text().splitlines()]
    trial.run.rollouts_log.write_text("".join(json.dumps({**r, "reward": 0.5}) + "\n" for r in records))
    look = dict(CHECKS)["rollouts"]
    assert (
        look(trial)
        == f"{len(records)} rewards from 0.5 to 0.5: all the same, so nothing is learned from them yet"
    )


def test_rollouts_without_any_reward_are_found(trial):
    trial.run.rollouts_log.write_text("")
    assert failures(trial) == {"rollouts": "no completion has a reward"}


def test_another_config_in_the_run_is_found(trial):
    trial.run.config.write_text(trial.run.config.read_text().replace("seed: 0", "seed: 1"))
    assert set(failures(trial)) == {"config"}


@pytest.mark.parametrize("content", [None, b"", b"text"])
def test_a_plot_that_is_no_picture_is_found(trial, content):
    file = trial.run.plots / "training.png"
    file.unlink() if content is None else file.write_bytes(content)
    assert set(failures(trial)) == {"plot"}


@pytest.mark.slow
def test_the_command_tries_all_of_it_in_processes_of_their_own(tiny_config, tmp_path):
    (tmp_path / "job.yaml").write_text(json.dumps({**tiny_config, "runs_root": str(tmp_path / "runs")}))
    command = [sys.executable, "-m", "whet", "smoke", str(tmp_path / "job.yaml"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["kept"]) == (0, True, None)
    assert {c["name"]: c["detail"] for c in found["checks"]}["evaluate"].startswith(
        "checkpoints 0, 1, final,"
    )
    assert not (tmp_path / "runs").exists()


def test_a_smoke_run_that_would_save_nothing_is_refused(tiny_config):
    with pytest.raises(ConfigError, match="a smoke run looks at checkpoints"):
        smoke_config([tiny_config], ["save_every=0"])
