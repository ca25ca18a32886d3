"""Sweeps of tiny jobs, and runs of them made by hand."""

import json
from pathlib import Path

import pytest
import yaml

from whet.evals import records
from whet.evals.records import EvalRecord
from whet.runs.directory import RunDirectory
from whet.sweeps.definition import define
from whet.sweeps.members import members_of
from whet.types import Score


@pytest.fixture
def tiny(tiny_config, tmp_path, monkeypatch) -> str:
    """The name of a config file in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WHET_RUNS", raising=False)
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny_config))
    return "tiny.yaml"


@pytest.fixture
def two(tiny):
    """Two settings, three seeds."""
    return define([tiny], ["algorithm=grpo,dr_grpo"], num_seeds=3)


@pytest.fixture
def finish():
    """Makes the finished run of a member."""
    return finished_run


def finished_run(member, right, of=40, greedy=None, **summary):
    """A finished run: of its problems the first `right` got the right answer."""
    run = RunDirectory.create(member.directory)
    run.config.write_text("seed: 1\n")
    run.update_summary(
        state="finished", why="", steps=2, wall_s=10.0, eval={"after": {}}, eval_task="arithmetic", **summary
    )
    run.train_log.parent.mkdir()
    steps = [{"step": n, "reward/mean": n / 10} for n in range(1, 21)]
    run.train_log.write_text("".join(json.dumps(step) + "\n" for step in steps))
    passes = [(False, right)] + ([] if greedy is None else [(True, greedy)])
    kept = [record(f"p{i}", float(i < hits), is_greedy) for is_greedy, hits in passes for i in range(of)]
    records.append(run.evaluation("arithmetic", 2) / "records.jsonl", kept)
    return run


def record(problem, value, greedy=False):
    return EvalRecord(
        problem=problem,
        sample=0,
        greedy=greedy,
        prompt=f"{problem}?",
        prompt_hash="",
        answer="3",
        tags={},
        token_ids=(1,),
        text="3",
        finish_reason="stop",
        score=Score(value=value),
        logprob_sum=-1.0,
        entropy_mean=None,
        weights_hash="w",
        sampling={},
    )


@pytest.fixture
def finished(two, tmp_path):
    """Makes the runs of both settings, the counts of right answers given by seed; None leaves a member without one."""

    def make(first, second, **changes):
        counts = [count for pair in zip(first, second, strict=True) for count in pair]
        for member, count in zip(members_of(two, tmp_path / "sweep_s"), counts, strict=True):
            if count is not None:
                finished_run(member, count, **changes)
        return two, tmp_path / "sweep_s"

    return make
