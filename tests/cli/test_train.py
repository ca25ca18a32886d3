"""`whet train` and `whet resume`: what they print, and how they end."""

import os
import signal
import subprocess
import sys
import time

import pytest
import typer
import yaml

from whet.cli._outcome import finish
from whet.config import load_config
from whet.runs import reader
from whet.runs.directory import RunDirectory, list_runs

SECONDS = 60


@pytest.fixture
def config(tiny_config, tmp_path):
    """A config file, and where its runs go."""
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({**tiny_config, "runs_root": str(tmp_path / "runs")}))
    return file


def the_run(config) -> RunDirectory:
    (run,) = list_runs(config.parent / "runs")
    return run


def test_a_run_ends_with_its_accuracy_and_where_it_is(whet, config):
    ended = whet("train", config, "trackers=[console, jsonl]", "max_steps=1")
    run = the_run(config)
    assert (ended.code, reader.state(run)) == (0, "finished")
    lines = ended.out.splitlines()
    assert any(line.startswith("step    1/1  reward") for line in lines)
    summary = lines[lines.index("finished: max_steps 1 reached") :]
    assert any(line.split() == ["run", str(run.path)] for line in summary)
    assert "right answers, arithmetic test, 8 problems, with 95% intervals" in summary
    before, after = (run.summary()["eval"][time]["pass@1"] for time in ("before", "after"))
    (sampled,) = [line.split() for line in summary if line.startswith("  sampled")]
    assert (sampled[1], sampled[4]) == (f"{before:.1%}", f"{after:.1%}")
    assert f"whet show {run.path}" in ended.out


def test_quiet_leaves_the_summary_only(whet, config):
    ended = whet("train", config, "trackers=[console, jsonl]", "max_steps=1", "--quiet")
    assert ended.out.splitlines()[:2] == ["", "finished: max_steps 1 reached"]
    assert load_config([the_run(config).config]).trackers == ("jsonl",)


def test_a_dry_run_prints_a_config_that_can_be_run_and_writes_nothing(whet, config, tmp_path):
    ended = whet("train", config, "batch.num_generations=8", "--dry-run")
    assert ended.code == 0
    (tmp_path / "printed.yaml").write_text(ended.out)
    assert load_config([tmp_path / "printed.yaml"]) == load_config([config], ["batch.num_generations=8"])
    assert (
        "# step         4 prompts x 8 generations = 32 completions, at most 128 sampled tokens" in ended.out
    )
    assert not (tmp_path / "runs").exists()


def test_a_setting_without_effect_is_said_once(whet, config):
    ended = whet("train", config, "optimizer.warmup_steps=9", "--dry-run")
    assert ended.err == "warning: optimizer.learning_rate is never reached: warmup_steps 9 >= max_steps 2\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("arithmetik",), "nor a config of that name. Did you mean arithmetic?"),
        (("missing/file.yaml",), "there is no file 'missing/file.yaml'"),
        (("max_steps=3",), "expected a config: the name of a shipped one"),
        (
            ("arithmetic", "max_stps=3"),
            "max_stps is not a setting of the config (command line). Did you mean max_steps?",
        ),
        (("arithmetic", "max_steps=many"), "max_steps: expected an integer"),
        (("arithmetic", "--dry-run", "sampling.max_prompt_length=3"), "has 6 tokens and 3 are allowed"),
        (("arithmetic", "--dry-run", "engine=vlm"), "there is no 'vlm' among the engines"),
    ],
)
def test_a_mistake_ends_before_a_run_is_made(whet, tmp_path, arguments, message):
    ended = whet("train", *arguments, f"runs_root={tmp_path}/runs")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert not (tmp_path / "runs").exists()


def test_a_config_in_another_folder_whose_files_are_not_found_says_where_to_go(
    whet, tiny_config, tmp_path, monkeypatch
):
    (tmp_path / "job").mkdir()
    (tmp_path / "job/mine.yaml").write_text(yaml.safe_dump({**tiny_config, "verifier": "./mine.py:score"}))
    (tmp_path / "job/mine.py").write_text("def score(text, answer):\n    return text == answer\n")
    monkeypatch.chdir(tmp_path)
    ended = whet("train", "job/mine.yaml", "--dry-run")
    assert ended.code == 2
    assert ended.err.endswith("Paths in a config are relative to the working directory: cd job first\n")
    monkeypatch.chdir(tmp_path / "job")
    assert whet("train", "mine.yaml", "--dry-run").code == 0


def test_a_run_that_fails_ends_with_its_message_and_is_kept(whet, config, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def broken(text, answer):\n    return 1.0 if text == answer else float('nan')\n"
    )
    ended = whet("train", config, f"verifier={tmp_path}/mine.py:broken", "eval.at_start=false")
    assert ended.code == 2
    assert "rewards failed on our side" in ended.err
    assert "Traceback" not in ended.err
    assert reader.state(the_run(config)) == "failed"


def test_resume_trains_on(whet, own_run):
    root = ("--runs-root", own_run.parent)
    assert whet("resume", "latest", "--additional-steps", "1", *root).code == 0
    assert [path.name for path in RunDirectory(own_run).training_state.glob("step_00000?")] != []
    assert whet("show", "latest", *root, "--json").json["step"] == 3


def test_resume_from_a_step_gives_up_what_came_later(whet, own_run):
    whet("resume", f"{own_run}:1", "--additional-steps", "2")
    log = [record["step"] for record in reader.metrics(RunDirectory(own_run)) if "reward/mean" in record]
    assert log == [1, 2, 3]


def test_resume_of_a_finished_run_says_how_to_train_on(whet, own_run):
    before = (own_run / "summary.json").read_bytes()
    ended = whet("resume", own_run)
    assert (ended.code, "Train on with --additional-steps K" in ended.out) == (0, True)
    assert (own_run / "summary.json").read_bytes() == before


@pytest.mark.parametrize(("why", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_run_exits_as_a_shell_expects(own_run, capsys, why, code):
    run = RunDirectory(own_run)
    run.set_state("stopped", why)
    with pytest.raises(typer.Exit) as exit_:
        finish(run)
    assert exit_.value.exit_code == code
    assert f"whet resume {own_run}" in capsys.readouterr().out


def test_sigterm_saves_the_run_and_resume_takes_it_up(whet, config):
    settings = ("max_steps=1000000", "save_every=0", "eval.at_end=false")
    child = subprocess.Popen(
        [sys.executable, "-m", "whet", "train", config, *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log = lambda: reader.metrics(the_run(config)) if list_runs(config.parent / "runs") else []  # noqa: E731
    deadline = time.monotonic() + SECONDS
    while len(log()) < 3 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=SECONDS)
    assert (child.returncode, err) == (143, "")
    assert "stopped: SIGTERM" in out
    run = the_run(config)
    steps = run.summary()["steps"]
    assert (reader.state(run), steps >= 2) == ("stopped", True)
    assert whet("resume", run.path, "--additional-steps", "1").code == 0
    assert (reader.state(run), run.summary()["steps"]) == ("finished", steps + 1)
    trained = [record["step"] for record in reader.metrics(run) if "reward/mean" in record]
    assert trained == list(range(1, steps + 2))  # none twice, none missing
