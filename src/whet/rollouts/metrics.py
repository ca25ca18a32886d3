"""What a step's groups say of themselves: rewards, lengths, reasons, failures."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from whet.sandbox import pool
from whet.tracking.metrics import Metrics
from whet.types import Rollout, RolloutGroup, StepGroups


def group_metrics(groups: StepGroups) -> Metrics:
    """Metrics over everything that was sampled, refused groups included: they are what the policy does.

    `reward/std` is the mean over groups of the standard deviation inside the group (ddof 1).
    """
    metrics = Metrics()
    everything = (*groups.admitted, *groups.refused)
    for group in everything:
        _add_group(metrics, group)
        for rollout in group.rollouts:
            _add_rollout(metrics, rollout)
    metrics.add("rollout/refused_frac", len(groups.refused), len(everything))
    if (lost := pool.lost_since()) is not None:
        metrics.count("perf/lost_workers", lost)
    return metrics


def records(step: int, groups: StepGroups) -> Iterator[Mapping[str, Any]]:
    """One JSON-ready record per rollout, for logs/rollouts.jsonl."""
    for is_admitted, part in ((True, groups.admitted), (False, groups.refused)):
        for group in part:
            for sample, rollout in enumerate(group.rollouts):
                yield _record(step, sample, rollout, is_admitted)


def _add_group(metrics: Metrics, group: RolloutGroup) -> None:
    values = [r.score.value for r in group.scored]
    if len(values) > 1:
        metrics.add("reward/std", statistics.stdev(values))
        metrics.add("reward/frac_zero_std", not group.has_signal)


def _add_rollout(metrics: Metrics, rollout: Rollout) -> None:
    score, length = rollout.score, rollout.completion_length
    metrics.add("completions/mean_length", length)
    metrics.maximum("completions/max_length", length)
    metrics.count("completions/tokens", length)
    metrics.add("completions/truncated_frac", rollout.finish_reason != "stop")
    metrics.add("rollout/failed_frac", score.is_failure)
    if rollout.answers:
        metrics.add("rollout/turns", len(rollout.answers))
    if score.is_failure:
        metrics.count(f"rollout/failed/{score.status}")
    if score.status == "skipped":
        metrics.count("rollout/skipped")
    if not score.ok:
        return
    metrics.add("reward/mean", score.value)
    metrics.maximum("reward/max", score.value)
    for name, value in score.parts.items():
        metrics.add(f"reward/{name}/mean", value)
    if part := rollout.example.tags.get("part"):
        metrics.add(f"reward/part={part}/mean", score.value)
    if score.detail:
        metrics.count(f"reward/reason/{score.detail}")


def _record(step: int, sample: int, rollout: Rollout, is_admitted: bool) -> dict[str, Any]:
    length = rollout.completion_length
    return {
        "step": step,
        "example": rollout.example.id,
        "sample": sample,
        "prompt": rollout.example.prompt,
        "text": rollout.text,
        "answer": rollout.example.answer,
        "reward": rollout.score.value if rollout.score.ok else None,
        "parts": dict(rollout.score.parts),
        "status": rollout.score.status,
        "detail": rollout.score.detail,
        "tags": dict(rollout.example.tags),
        "finish_reason": rollout.finish_reason,
        "length": length,
        "logprob_mean": sum(rollout.sampling_logprobs) / max(length, 1),
        "policy_version": rollout.policy_version,
        "admitted": is_admitted,
        **({"answers": list(rollout.answers)} if rollout.answers else {}),
    }
