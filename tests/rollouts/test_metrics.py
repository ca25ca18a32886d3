"""What a step says of itself, and how parts merge."""

import json
import math

import pytest

import tiny
from whet.rollouts.metrics import group_metrics, records
from whet.tracking.metrics import Metrics
from whet.types import Example, Rollout, RolloutGroup, Score, StepGroups


def rollout(score: Score, length: int = 2, reason: str = "stop", example: Example | None = None) -> Rollout:
    return Rollout(
        example=example or tiny.example(),
        token_ids=(1, *range(length)),
        loss_mask=(False,) + (True,) * length,
        sampling_logprobs=(0.0,) + (-0.5,) * length,
        finish_reason=reason,  # type: ignore[arg-type]
        policy_version=7,
        text="ab",
        score=score,
    )


def group(*rollouts: Rollout) -> RolloutGroup:
    return RolloutGroup(example=rollouts[0].example, rollouts=rollouts)


def ok(value: float, **more: object) -> Score:
    return Score(value=value, **more)  # type: ignore[arg-type]


GROUPS = StepGroups(
    admitted=(
        group(rollout(ok(1.0), 4), rollout(ok(0.0, detail="wrong"), 2, "length"), rollout(ok(0.5), 1)),
        group(rollout(ok(1.0)), rollout(Score.failed("error", "boom"))),
    ),
    refused=(group(rollout(ok(0.0, detail="wrong")), rollout(ok(0.0, detail="no_answer"))),),
)


def test_metrics_are_over_all_that_was_sampled() -> None:
    found = {k: v for k, v in group_metrics(GROUPS).values().items() if not k.startswith("perf/")}
    assert found == pytest.approx(
        {
            "reward/mean": 2.5 / 6,  # six of seven have a reward
            "reward/max": 1.0,
            "reward/std": 0.25,  # 0.5 and 0 over the two groups with two values; ddof 1 of (1, 0, 0.5) is 0.5
            "reward/frac_zero_std": 0.5,
            "reward/reason/wrong": 2.0,
            "reward/reason/no_answer": 1.0,
            "completions/mean_length": 15 / 7,
            "completions/max_length": 4.0,
            "completions/tokens": 15.0,
            "completions/truncated_frac": 1 / 7,
            "rollout/failed_frac": 1 / 7,
            "rollout/failed/error": 1.0,
            "rollout/refused_frac": 1 / 3,
        }
    )


def test_parts_of_a_reward_and_of_a_mixture_are_means_of_their_own() -> None:
    half, whole = tiny.example(tags={"part": "sums"}), tiny.example(tags={"part": "echo"})
    groups = StepGroups(
        admitted=(
            group(rollout(ok(1.5, parts={"right": 1.0, "short": 0.5}), example=half)),
            group(rollout(ok(0.5, parts={"right": 0.0, "short": 0.5}), example=whole)),
        )
    )
    found = group_metrics(groups).values()
    assert (found["reward/right/mean"], found["reward/short/mean"]) == (0.5, 0.5)
    assert (found["reward/part=sums/mean"], found["reward/part=echo/mean"]) == (1.5, 0.5)


def test_a_step_in_which_every_reward_failed_has_no_mean() -> None:
    found = group_metrics(StepGroups(admitted=(group(rollout(Score.failed("timeout", "slow"))),))).values()
    assert "reward/mean" not in found
    assert found["rollout/failed_frac"] == 1.0


def test_what_a_verifier_skips_is_counted_and_is_no_failure() -> None:
    skipped = group(
        rollout(Score.skipped("not a sum")), rollout(ok(1.0)), rollout(Score.skipped("not a sum"))
    )
    found = group_metrics(StepGroups(admitted=(skipped,))).values()
    assert (found["rollout/skipped"], found["rollout/failed_frac"], found["reward/mean"]) == (2.0, 0.0, 1.0)


def test_a_record_can_be_read_back_and_says_everything() -> None:
    first, *_, last = (json.loads(json.dumps(r, allow_nan=False)) for r in records(3, GROUPS))
    assert first == {
        "step": 3,
        "example": "ab=",
        "sample": 0,
        "prompt": "ab=",
        "text": "ab",
        "answer": "ab",
        "reward": 1.0,
        "parts": {},
        "status": "ok",
        "detail": "",
        "tags": {},
        "finish_reason": "stop",
        "length": 4,
        "logprob_mean": -0.5,
        "policy_version": 7,
        "admitted": True,
    }
    assert (last["admitted"], last["sample"], last["detail"]) == (False, 1, "no_answer")


def test_a_failed_reward_is_null_and_never_zero() -> None:
    failed = [r for r in records(1, GROUPS) if r["status"] != "ok"]
    assert [(r["reward"], r["status"], r["detail"]) for r in failed] == [(None, "error", "boom")]


def test_merging_is_a_mean_over_all_and_never_a_mean_of_means() -> None:
    one, other = Metrics(), Metrics()
    one.add("x", 1.0)
    other.add("x", 12.0, 4)  # four things that sum to 12
    one.merge(other)
    assert one.values() == {"x": 13 / 5}  # not (1 + 3) / 2


def test_totals_add_up_and_maxima_stay() -> None:
    one, other = Metrics(), Metrics()
    for metrics, value in ((one, 2.0), (other, -5.0)):
        metrics.count("n", 3)
        metrics.maximum("top", value)
    one.merge(other)
    assert one.values() == {"n": 6.0, "top": 2.0}


def test_what_is_not_finite_is_left_out_and_a_count_of_zero_leaves_no_trace() -> None:
    metrics = Metrics()
    metrics.add("nan", math.nan)
    metrics.add("empty", 0.0, 0)
    metrics.maximum("inf", math.inf)
    assert metrics.values() == {}


def test_what_is_not_finite_hides_nothing_that_is() -> None:
    metrics = Metrics()
    for value in (1.0, math.nan, 3.0, math.inf):
        metrics.add("x", value)
        metrics.maximum("top", value)
    assert metrics.values() == {"x": 2.0, "top": 3.0}  # (1 + 3) / 2
    json.dumps(metrics.state_dict(), allow_nan=False)  # a checkpoint inside the step can hold it


def test_state_survives_json_bit_for_bit() -> None:
    metrics = Metrics()
    metrics.add("x", 0.1 + 0.2, 3)
    metrics.add("x", 1e-17, 1)
    metrics.count("n")
    metrics.maximum("top", 1 / 3)
    again = Metrics.from_state(json.loads(json.dumps(metrics.state_dict())))
    assert again.values() == metrics.values()
    again.add("x", 1.0)
    metrics.add("x", 1.0)
    assert again.state_dict() == metrics.state_dict()
