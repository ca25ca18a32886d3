"""Numbers from hand-made records, each worked out by hand."""

import dataclasses
import json
import math
import random

import pytest

from whet.evals.metrics import from_json, metrics_of, scalars, to_json
from whet.functional.statistics import Interval
from whet.types import Score


@pytest.fixture
def two_problems(record):
    """Problem a: 1 of 4 right; problem b: 3 of 4 right."""
    return [record("a", i, float(i < 1)) for i in range(4)] + [record("b", i, float(i < 3)) for i in range(4)]


def test_pass_at_k_is_the_mean_over_problems_of_the_unbiased_estimate(two_problems):
    metrics = metrics_of(two_problems)
    assert metrics["pass@1"].mean == pytest.approx(0.5, abs=1e-15)  # (1/4 + 3/4) / 2
    assert metrics["pass@2"].mean == pytest.approx(
        0.75, abs=1e-15
    )  # (1 - C(3,2)/C(4,2) + 1) / 2 = (1/2 + 1) / 2
    assert metrics["pass@4"].mean == 1.0
    assert "pass@8" not in metrics
    assert metrics["pass@1"].clusters == 2


def test_other_ks_can_be_asked_for(two_problems):
    metrics = metrics_of(two_problems, ks=[3])
    assert metrics["pass@3"].mean == pytest.approx((0.75 + 1) / 2, abs=1e-15)  # a: 1 - C(3,3)/C(4,3)
    assert "pass@1" not in metrics


def test_the_mean_value_keeps_partial_credit_that_pass_at_1_ignores(record):
    metrics = metrics_of([record("a", value=0.5), record("b", value=1.0), record("c", value=0.9)])
    assert metrics["mean@1"].mean == pytest.approx(0.8, abs=1e-15)
    assert metrics["pass@1"].mean == pytest.approx(1 / 3, abs=1e-15)
    assert metrics_of([record("a", value=0.5), record("b", value=1.0)], threshold=0.5)["pass@1"].mean == 1.0


def test_intervals_are_clustered_by_problem(record):
    # Two problems x two samples, 1 1 and 0 0: SE 0.5, t_1 = 12.706; scores -1 and 1 make it no proportion.
    records = [record(p, i, v) for p, v in [("a", 1.0), ("b", -1.0)] for i in range(2)]
    assert metrics_of(records)["mean@2"].half_width == pytest.approx(12.7062, abs=1e-4)  # twice the SE of 0/1


def test_failures_on_our_side_are_counted_and_left_out(record):
    metrics = metrics_of([record("a", value=1.0), record("b", value=None), record("c", value=0.0)])
    assert metrics["pass@1"].mean == 0.5
    assert metrics["pass@1"].n == 2
    assert metrics["failed_frac"].mean == pytest.approx(1 / 3, abs=1e-15)
    assert metrics["failed_frac"].n == 3


def test_a_problem_with_too_few_scores_for_k_is_left_out_of_pass_at_k(record):
    records = [record("a", 0, 1.0), record("a", 1, None), record("b", 0, 0.0), record("b", 1, 0.0)]
    metrics = metrics_of(records)
    assert metrics["pass@1"].mean == 0.5
    assert (metrics["pass@2"].mean, metrics["pass@2"].n) == (0.0, 1)


def test_only_failures_leave_no_accuracy(record):
    metrics = metrics_of([record(value=None)])
    assert "pass@1" not in metrics
    assert metrics["failed_frac"].mean == 1.0


def test_greedy_completions_count_for_greedy_only(record):
    metrics = metrics_of([record("a", value=0.0), record("a", value=1.0, greedy=True)])
    assert metrics["greedy"].mean == 1.0
    assert metrics["pass@1"].mean == 0.0
    assert metrics["mean_length"].n == 1


def test_lengths_and_truncation(record):
    lengths = [1, 2, 3, 10]
    records = [
        record(f"p{n}", token_ids=tuple(range(n)), finish_reason="length" if n == 10 else "stop")
        for n in lengths
    ]
    metrics = metrics_of(records)
    assert metrics["mean_length"].mean == 4.0
    assert metrics["p50_length"].mean == 2.5
    assert metrics["p95_length"].mean == pytest.approx(8.95, abs=1e-12)  # 3 + 0.85 * 7
    assert metrics["truncated_frac"].mean == 0.25


def test_entropy_and_logprob_are_means_over_tokens_not_over_completions(record):
    records = [
        record("a", token_ids=(1,), logprob_sum=-2.0, entropy_mean=1.0),
        record("b", token_ids=(1, 2, 3), logprob_sum=-3.0, entropy_mean=0.2),
    ]
    metrics = metrics_of(records)
    assert metrics["logprob"].mean == pytest.approx(-5 / 4, abs=1e-15)
    assert metrics["entropy"].mean == pytest.approx((1.0 + 3 * 0.2) / 4, abs=1e-15)
    assert "entropy" not in metrics_of([record()])


def test_format_and_answers_are_rates_of_their_own(record):
    records = [
        record("a", score=Score(value=0.0, detail="no_answer", parts={"format": 0.0})),
        record("b", score=Score(value=0.0, detail="wrong", parts={"format": 1.0})),
        record("c", score=Score(value=1.0, parts={"format": 1.0})),
    ]
    metrics = metrics_of(records)
    assert metrics["answered_frac"].mean == pytest.approx(2 / 3, abs=1e-15)
    assert metrics["format_frac"].mean == pytest.approx(2 / 3, abs=1e-15)
    assert "format_frac" not in metrics_of([record()])


@pytest.mark.parametrize(
    ("detail", "answered"),
    [
        ("answer:no_answer form:missing_tag", 0),
        ("answer:wrong form:missing_tag", 1),
        ("no_answer", 0),
        ("", 1),
    ],
)
def test_answers_are_read_from_joined_details_too(record, detail, answered):
    assert metrics_of([record(score=Score(value=0.5, detail=detail))])["answered_frac"].mean == answered


def test_every_tag_gets_the_same_metrics(record):
    records = [
        record("a", value=1.0, tags={"operation": "add", "digits": "1"}),
        record("b", value=0.0, tags={"operation": "mul", "digits": "1"}),
    ]
    metrics = metrics_of(records)
    assert metrics["tag/operation=add/pass@1"].mean == 1.0
    assert metrics["tag/operation=mul/pass@1"].mean == 0.0
    assert metrics["tag/digits=1/pass@1"].mean == metrics["pass@1"].mean == 0.5
    assert "tag/operation=mul/mean_length" in metrics


def test_the_order_of_the_records_does_not_matter(record):
    draw = random.Random(0)
    records = [
        record(
            f"p{i % 7}",
            i,
            draw.random(),
            logprob_sum=-draw.random(),
            entropy_mean=draw.random() * 10.0 ** (i % 5),
        )
        for i in range(60)
    ]
    shuffled = draw.sample(records, len(records))
    assert metrics_of(shuffled) == metrics_of(records)


def test_no_records_have_no_metrics():
    assert metrics_of([]) == {}


def test_metrics_survive_json_with_open_intervals(record):
    metrics = metrics_of([record("a", token_ids=(1,)), record("a", 1, token_ids=(1, 2, 3))])
    assert metrics["mean_length"].half_width == math.inf  # one problem
    assert to_json(metrics)["mean_length"]["low"] is None
    assert from_json(to_json(metrics)) == metrics


def test_a_mean_that_is_not_finite_survives_json_as_nan():
    broken = Interval(mean=math.nan, low=-math.inf, high=math.inf, half_width=math.inf, n=4, clusters=2)
    found = from_json(json.loads(json.dumps(to_json({"entropy": broken}), allow_nan=False)))["entropy"]
    assert math.isnan(found.mean)
    assert (found.low, found.high, found.n, found.clusters) == (-math.inf, math.inf, 4, 2)


def test_trackers_get_finite_numbers_only(record):
    numbers = scalars(metrics_of([record("a"), record("a", 1)]))
    assert numbers["pass@1"] == 1.0
    assert "mean_length" in numbers
    assert "mean_length_low" not in numbers


def test_a_changed_verdict_changes_the_number(two_problems):
    flipped = [
        dataclasses.replace(two_problems[1], score=Score(value=1.0)),
        *two_problems[2:],
        two_problems[0],
    ]
    assert metrics_of(flipped)["pass@1"].mean == pytest.approx(5 / 8, abs=1e-15)
