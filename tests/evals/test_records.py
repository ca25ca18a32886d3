"""What is written is what is read."""

import json
import math

import pytest

from whet.errors import DataError
from whet.evals import records
from whet.evals.metrics import metrics_of
from whet.types import Example, Rollout, SamplingParams, Score


def test_records_are_read_as_they_were_written(tmp_path, record):
    first = record(
        text="a\nb\u2028",
        tags={"op": "add"},
        sampling={"temperature": 0.7, "stop": ["x"]},
        logprob_sum=-0.1 - 0.2,
    )
    second = record("q", 1, score=Score(value=0.5, parts={"format": 1.0}, detail="wrong"), entropy_mean=0.25)
    records.append(tmp_path / "deep" / "records.jsonl", [first])
    records.append(tmp_path / "deep" / "records.jsonl", [second])
    assert records.read(tmp_path / "deep" / "records.jsonl") == [first, second]


def test_a_failed_score_is_null_in_the_file_and_nan_in_memory(tmp_path, record):
    records.append(tmp_path / "r.jsonl", [record(value=None)])
    assert json.loads((tmp_path / "r.jsonl").read_text())["score"]["value"] is None
    (back,) = records.read(tmp_path / "r.jsonl")
    assert math.isnan(back.score.value)
    assert (back.score.status, back.score.detail) == ("timeout", "slow")


def test_a_logprob_that_is_not_finite_is_read_back_as_nan(tmp_path, record):
    records.append(tmp_path / "r.jsonl", [record(logprob_sum=-math.inf)])
    (back,) = records.read(tmp_path / "r.jsonl")
    assert math.isnan(back.logprob_sum)
    assert math.isnan(metrics_of([back])["logprob"].mean)


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path, record):
    path = tmp_path / "r.jsonl"
    records.append(path, [record("a"), record("b")])
    path.write_bytes(path.read_bytes()[:-20])
    assert [r.problem for r in records.read(path)] == ["a"]
    records.append(path, [record("c")])
    assert [r.problem for r in records.read(path)] == ["a", "c"]


def test_a_line_that_is_no_record_is_named(tmp_path, record):
    path = tmp_path / "r.jsonl"
    records.append(path, [record("a")])
    with path.open("a") as file:
        file.write('{"problem": "b"}\n')
    with pytest.raises(DataError, match="line 2"):
        records.read(path)


def test_a_record_of_a_rollout_separates_prompt_and_completion():
    rollout = Rollout(
        example=Example(id="p", prompt="1+2=", answer="3", tags={"op": "add"}),
        token_ids=(5, 6, 7, 8),
        loss_mask=(False, False, True, True),
        sampling_logprobs=(0.0, 0.0, -0.5, -0.25),
        finish_reason="stop",
        policy_version=3,
        text="3",
        score=Score(value=1.0),
    )
    settings = records.settings_of(SamplingParams(temperature=0.0), seed=4)
    made = records.record_of(rollout, 1, settings, "w")
    assert made.token_ids == (7, 8)
    assert made.logprob_sum == -0.75
    assert made.greedy
    assert made.sampling["seed"] == 4
    assert made.place == ("p", 1, True)
    # printf '[5, 6]' | sha256sum
    assert made.prompt_hash == "8050091b38c975da61899fd28c8662b45737f872b4aa4707215e687a2b9507f6"
