"""Members as processes: order, failures, limits of time, and what is left to do."""

import sys
import time
from pathlib import Path

import pytest

from processes import assert_ends
from whet.sweeps import launch
from whet.sweeps.definition import define
from whet.sweeps.launch import run_members
from whet.sweeps.members import members_of


def child(script):
    return [sys.executable, "-S", "-c", script]


@pytest.fixture
def members(two, tmp_path):
    return members_of(two, tmp_path / "sweep_s")


def test_every_setting_has_its_first_run_before_any_has_its_second(members):
    assert [m.name for m in members[:3]] == [
        "algorithm=grpo, seed 0", "algorithm=dr_grpo, seed 0", "algorithm=grpo, seed 1",
    ]  # fmt: skip
    assert members[3].directory.name == "algorithm=dr_grpo_seed1"


def test_one_that_fails_does_not_stop_the_rest_and_says_why(members):
    said = []
    scripts = {m.name: "print('fine')" for m in members} | {
        members[1].name: "print(1); raise SystemExit('boom')"
    }
    scripts[members[2].name] = "nothing"
    commands = lambda m: ["/nowhere"] if scripts[m.name] == "nothing" else child(scripts[m.name])  # noqa: E731
    run_members(members, 2, 60, lambda m, text: said.append((m.name, text)), commands)
    assert [name for name, text in said if text == "starts"] == [m.name for m in members]
    assert members[1].error == "could not start: boom"
    assert "could not be started" in members[2].error


def test_at_most_that_many_run_at_a_time(members, tmp_path):
    script = (
        "import os, time; from pathlib import Path; here = Path('now'); here.mkdir(exist_ok=True)\n"
        "mine = here / str(os.getpid()); mine.touch(); n = len(list(here.iterdir())); time.sleep(0.2)\n"
        "mine.unlink(); open('most', 'a').write(f'{n}\\n')"
    )
    run_members(members[:4], 2, 60, command=lambda m: child(script))
    assert max(map(int, Path("most").read_text().split())) == 2


def test_one_past_its_time_may_save_and_takes_its_children_along(members, monkeypatch):
    monkeypatch.setattr(launch, "GRACE_S", 5.0)
    script = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *a: (open('saved', 'w').write('yes'), sys.exit(143)))\n"
        "other = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
        "open('other', 'w').write(str(other.pid)); time.sleep(60)"
    )
    said = []
    start = time.monotonic()
    run_members(members[:1], 1, 1.5, lambda m, text: said.append(text), lambda m: child(script))
    assert time.monotonic() - start < 5
    assert Path("saved").read_text() == "yes"
    assert said[-1] == "not done after 1.5 s: stopped"
    assert_ends(int(Path("other").read_text()))


def test_an_interruption_leaves_no_process_behind(members):
    def interrupt(member, text):
        file = Path(f"{members[0].seed}.pid")
        while not (file.exists() and file.read_text()):
            time.sleep(0.02)
        raise KeyboardInterrupt

    script = "import os, time; open('0.pid', 'w').write(str(os.getpid())); time.sleep(60)"
    commands = [child(script), child("print()")]
    with pytest.raises(KeyboardInterrupt):
        run_members(
            members[:2],
            2,
            60,
            lambda m, text: m is members[1] and interrupt(m, text),
            lambda m: commands.pop(0),
        )
    assert_ends(int(Path("0.pid").read_text()))


def test_what_is_finished_is_left_alone_and_what_was_begun_goes_on(members, finish):
    finish(members[0], 3)
    run = finish(members[1], 3)
    run.set_state("stopped", "SIGTERM")
    assert members[0].command() is None
    assert members[1].command()[3:] == ["resume", str(run.path)]
    assert members[1].error == "stopped: SIGTERM"
    with run.lock():
        run.set_state("running")
        assert members[1].command() is None
    assert members[1].error == "lost"
    assert members[1].command()[3] == "resume"


def test_a_member_starts_from_a_config_of_its_own(members):
    command = members[-1].command()
    assert command[1:4] == ["-m", "whet", "train"]
    assert command[5] == "--quiet"
    (setting,) = define([command[4]]).settings
    assert (setting.config.seed, setting.config.algorithm.name) == (2, "dr_grpo")
    assert Path(setting.config.runs_root) == members[-1].directory
