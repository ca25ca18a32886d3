"""From records to numbers: pure functions, each number with its 95% interval clustered by problem.

A completion is right when its value reaches the threshold. Failures on our side are counted in `failed_frac`; they
and what the verifier skipped are left out of everything that needs a score; `n` and `clusters` of an interval say
what is in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from whet.evals.records import EvalRecord
from whet.functional.statistics import (
    Interval,
    confidence_interval,
    pass_at_k,
    quantile_interval,
)

Metrics = dict[str, Interval]

NO_ANSWER = "no_answer"
"""The verifiers' reason that means: no answer could be read from the text."""


def metrics_of(records: Sequence[EvalRecord], ks: Sequence[int] = (), threshold: float = 1.0) -> Metrics:
    """Every metric by name, and the same of each tag as `tag/<name>=<value>/<metric>`.

    Sampled completions give `mean@n` (mean value; n completions per problem), `pass@k` (default k: 1, 2, 4,
    ... <= n), `truncated_frac`, `answered_frac`, `format_frac` (where the score has a part `format`),
    `mean_length`, `p50_length`, `p95_length` (tokens), `logprob` and `entropy` (nats per token),
    `failed_frac`; greedy ones give `greedy`, the share that is right. The order of the records does not
    matter.
    """
    metrics = _metrics(records, ks, threshold)
    for tag, value in sorted({item for r in records for item in r.tags.items()}):
        tagged = [r for r in records if r.tags.get(tag) == value]
        some = _metrics(tagged, ks, threshold)
        metrics |= {f"tag/{tag}={value}/{name}": interval for name, interval in some.items()}
    return metrics


def to_json(metrics: Mapping[str, Interval]) -> dict[str, dict[str, Any]]:
    """The metrics as JSON values; a number that is not finite is null."""
    plain = {name: asdict(interval) for name, interval in metrics.items()}
    return {
        name: {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()}
        for name, fields in plain.items()
    }


def from_json(values: Mapping[str, Mapping[str, Any]]) -> Metrics:
    """The metrics that `to_json` wrote."""
    # A mean is null where a policy that fell apart gave no finite number, such as the entropy of NaN logits.
    when_null: dict[str, Any] = {"mean": math.nan, "low": -math.inf, "high": math.inf, "half_width": math.inf}
    return {
        name: Interval(**{k: when_null[k] if v is None else v for k, v in fields.items()})
        for name, fields in values.items()
    }


def scalars(metrics: Mapping[str, Interval]) -> dict[str, float]:
    """Finite numbers for trackers: each mean, and its interval as `<name>_low` and `<name>_high`."""
    flat: dict[str, float] = {}
    for name, interval in metrics.items():
        flat |= {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {name: value for name, value in flat.items() if math.isfinite(value)}


def _metrics(records: Sequence[EvalRecord], ks: Sequence[int], threshold: float) -> Metrics:
    sampled = [r for r in records if not r.greedy]
    greedy = [r for r in records if r.greedy and r.score.ok]
    metrics: Metrics = {}
    if greedy:
        metrics["greedy"] = _share(greedy, [r.score.value >= threshold for r in greedy])
    if sampled:
        metrics |= _scores([r for r in sampled if r.score.ok], ks, threshold)
        metrics |= _lengths(sampled) | _per_token(sampled)
        metrics["failed_frac"] = _share(sampled, [r.score.is_failure for r in sampled])
    return metrics


def _scores(scored: Sequence[EvalRecord], ks: Sequence[int], threshold: float) -> Metrics:
    """What the values say."""
    if not scored:
        return {}
    right: dict[str, list[bool]] = {}
    for record in scored:
        right.setdefault(record.problem, []).append(record.score.value >= threshold)
    most = max(map(len, right.values()))
    metrics = {f"mean@{most}": _mean_value(scored)}
    for k in ks or [2**i for i in range(most.bit_length())]:
        enough = {problem: r for problem, r in right.items() if len(r) >= k}
        if enough:
            rates = [pass_at_k(len(r), sum(r), k) for r in enough.values()]
            metrics[f"pass@{k}"] = confidence_interval(rates, list(enough), proportion=True)
    metrics["answered_frac"] = _share(scored, [_answered(r.score.detail) for r in scored])
    formatted = [r for r in scored if "format" in r.score.parts]
    if formatted:
        values = [float(r.score.parts["format"]) for r in formatted]
        metrics["format_frac"] = confidence_interval(values, _problems(formatted))
    return metrics


def _answered(detail: str) -> bool:
    """Whether no verifier missed an answer; details of several are joined as `answer:no_answer form:wrong`."""
    return all(reason.rpartition(":")[2] != NO_ANSWER for reason in detail.split())


def _mean_value(scored: Sequence[EvalRecord]) -> Interval:
    values = [float(r.score.value) for r in scored]
    binary = all(v in (0.0, 1.0) for v in values)
    return confidence_interval(values, _problems(scored), proportion=binary)


def _lengths(records: Sequence[EvalRecord]) -> Metrics:
    lengths, problems = [float(r.length) for r in records], _problems(records)
    return {
        "truncated_frac": _share(records, [r.finish_reason != "stop" for r in records]),
        "mean_length": confidence_interval(lengths, problems),
        "p50_length": quantile_interval(lengths, problems, 0.50),
        "p95_length": quantile_interval(lengths, problems, 0.95),
    }


def _per_token(records: Sequence[EvalRecord]) -> Metrics:
    """Means over tokens, not over completions: sum of the records' sums / sum of their lengths."""
    some = [r for r in records if r.length]
    known = [r for r in some if r.entropy_mean is not None]
    metrics = {}
    if some:
        metrics["logprob"] = _token_mean(some, [r.logprob_sum / r.length for r in some])
    if known:
        metrics["entropy"] = _token_mean(known, [r.entropy_mean or 0.0 for r in known])
    return metrics


def _token_mean(records: Sequence[EvalRecord], means: list[float]) -> Interval:
    return confidence_interval(means, _problems(records), weights=[float(r.length) for r in records])


def _share(records: Sequence[EvalRecord], hits: Sequence[bool]) -> Interval:
    return confidence_interval([float(hit) for hit in hits], _problems(records), proportion=True)


def _problems(records: Sequence[EvalRecord]) -> list[str]:
    return [r.problem for r in records]
