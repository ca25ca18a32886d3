"""`whet sweep`: the whole of it once, with real processes, and what it refuses."""

import json
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def tiny(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(yaml.safe_dump({**tiny_config, "max_steps": 1, "warm_start": None}))
    return "tiny.yaml"


@pytest.mark.slow
def test_a_sweep_trains_goes_on_where_one_failed_and_shows_itself_again(whet, tiny):
    broken = "policy.context_length=16,4"  # too short for any prompt
    arguments = ("sweep", tiny, "--set", broken, "--seeds", "1", "--jobs", "2", "--json")
    first = whet(*arguments)
    assert first.code == 1
    assert "context_length=4, seed 0: starts" in first.err
    good, bad = first.json["settings"]
    assert (good["finished"], good["members"][0]["error"]) == (1, "")
    assert 0 <= good["metrics"]["pass@1"]["mean"] <= 1
    assert (bad["finished"], bad["metrics"]) == (0, {})
    assert bad["members"][0]["error"].startswith("could not start: the prompt of arithmetic/")
    directory = Path("runs/sweep_tiny_context_length")
    assert {p.name for p in directory.iterdir()} >= {"sweep.yaml", "results.json", "sweep.png", "runs.csv"}

    log = Path(good["members"][0]["run"], "logs", "train_log.jsonl")
    before = log.read_bytes()
    again = whet(*arguments)
    assert "context_length=16, seed 0: finished: left as it is" in again.err
    assert log.read_bytes() == before

    shown = whet("sweep", "--show", "tiny_context_length", "--json")
    assert shown.json["settings"][0] == good
    assert json.loads((directory / "results.json").read_text())["ranked"] == ["context_length=16"]
    assert whet("runs", "--json").json == []  # its runs lie one level below


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected a config"),
        (("--set", "max_steps=1,2"), "expected a config"),
        (("--show", "nothing"), "there is no sweep 'nothing'. In runs: none"),
        (("tiny.yaml", "--show", "x"), "give no config"),
        (("tiny.yaml", "--set", "max_step=1,2"), "max_step is not a setting"),
    ],
)
def test_what_is_asked_wrongly_is_refused_before_anything_runs(whet, tiny, arguments, said):
    ended = whet("sweep", *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert not Path("runs").exists()


def test_a_run_evaluated_on_training_data_says_so_in_the_list(whet, tmp_path):
    for split in ("train", "test"):
        summary = {"state": "finished", "eval": {"after": {"pass@1": 0.5}}, "eval_split": split}
        (tmp_path / f"run_{split}").mkdir()
        (tmp_path / f"run_{split}" / "summary.json").write_text(json.dumps(summary))
    test, train = whet("runs", "--runs-root", tmp_path).out.splitlines()[1:]
    assert train.endswith("50.0% on training data")
    assert test.endswith("50.0%")
