"""What a policy can do on held-out problems: sample, score, keep every record, count.

Looks at the policy and changes nothing: weights, random state and training mode are as before. A sample's key
depends on the seed, the problem and the number of the sample only, so two evaluations of one run are paired.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.config import Config, EvalConfig, PromptConfig, SamplingConfig
from whet.errors import DataError
from whet.evals.entropy import entropy_means
from whet.evals.metrics import Metrics, metrics_of
from whet.evals.overlap import check_overlap
from whet.evals.records import EvalRecord, StaleRecords, record_of, sample_keys, settings_of
from whet.evals.rescore import rescore
from whet.interfaces import Engine, Policy, Task
from whet.models.fingerprint import weights_hash
from whet.rollouts.collect import collect
from whet.seeding import key
from whet.text.prompts import PromptEncoder
from whet.types import Example, RolloutGroup, SamplingParams

CHUNK = 256
"""Problems sampled together: what an interrupted evaluation loses at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalPlan:
    """What is asked, and how. The same plan serves every evaluation of a run."""

    task: Task
    examples: Sequence[Example]
    config: EvalConfig
    sampling: SamplingConfig
    """Lengths and stop strings; the temperature is that of `config`."""
    seed: int
    prompt: PromptConfig
    overlap: int = 0
    """Evaluation questions that are also training questions."""
    microbatch_tokens: int = 16384
    threshold: float = 1.0
    """A completion with this value is right."""

    @property
    def name(self) -> str:
        """The task's name as part of a path or of a metric."""
        return plain_name(self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """The records of an evaluation and what follows from them."""

    records: tuple[EvalRecord, ...]
    metrics: Metrics
    overlap: int


def plain_name(task: Task) -> str:
    """The task's name without slashes: `arithmetic` is itself, `./mine.py:Sums` is `mine.Sums`."""
    where, _, attribute = task.name.rpartition(":")
    stem = re.split(r"[/.]", where.removesuffix(".py"))[-1]
    return re.sub(r"[^\w.-]", "_", f"{stem}.{attribute}" if stem else attribute)


def plan_of(config: Config, train: Sequence[Example]) -> EvalPlan:
    """The plan of a run's evaluations, the questions checked against the training examples.

    Raises `DataError` when a question is in both and `eval.allow_overlap` is off.
    """
    task = config.eval.task or config.task
    examples = _subset(task.examples(config.eval.split)[: config.eval.limit], config.eval.subset_frac)
    if not examples:
        raise DataError(f"the {config.eval.split} split of {task.name} has no examples to evaluate on")
    return EvalPlan(
        task=task,
        examples=examples,
        config=config.eval,
        sampling=config.sampling,
        seed=config.seed,
        prompt=config.prompt,
        overlap=check_overlap(train, examples, allow=config.eval.allow_overlap),
        microbatch_tokens=config.batch.token_limit,
        threshold=config.eval.threshold,
    )


def evaluate(
    policy: Policy,
    engine: Engine,
    plan: EvalPlan,
    should_stop: Callable[[], bool] = lambda: False,
    sink: Callable[[Sequence[EvalRecord]], None] = lambda records: None,
    done: Sequence[EvalRecord] = (),
) -> EvalResult:
    """Records and metrics of the plan. `sink` gets the records of each chunk of problems as it is finished.

    `done` holds records of an interrupted evaluation: their texts are scored again, not sampled again, and
    the result is the same. Raises `StaleRecords` when they belong to other weights or settings, `Interrupted`
    when told to stop.
    """
    weights, encode = weights_hash(policy.module), PromptEncoder(policy.tokenizer, plan.prompt)
    known = {record.place: record for record in done}
    records: list[EvalRecord] = []
    for params, items in _chunks(plan):
        settings = settings_of(params, plan.seed)
        places = [(e.id, sample, params.temperature == 0) for e, keys in items for sample in range(len(keys))]
        old = [known[place] for place in places if place in known]
        _check_same(old, weights, settings)
        if len(old) == len(places):
            records += rescore(old, plan.task, [example for example, _ in items]).records
            continue
        groups = collect(engine, encode, items, plan.task, params, should_stop)
        new = [record_of(r, i, settings, weights) for g in groups for i, r in enumerate(g.rollouts)]
        new = _with_entropy(new, groups, policy, plan) if params.temperature else new
        sink([record for record in new if record.place not in known])
        records += new
    metrics = metrics_of(records, threshold=plan.threshold)
    return EvalResult(records=tuple(records), metrics=metrics, overlap=plan.overlap)


def _subset(examples: Sequence[Example], frac: float) -> Sequence[Example]:
    """That share of the examples, at least one, in their order. A smaller share is part of a larger one."""
    count = max(1, round(frac * len(examples)))
    chosen = {e.id for e in sorted(examples, key=lambda e: key(0, f"subset {e.id}"))[:count]}
    return [e for e in examples if e.id in chosen]


def _chunks(plan: EvalPlan) -> Iterator[tuple[SamplingParams, list[tuple[Example, tuple[int, ...]]]]]:
    """What to sample: the sampled pass, then the greedy one, a chunk of problems at a time.

    Chunks have fixed borders, so a resumed evaluation samples in the same company as an uninterrupted one.
    """
    params = dataclasses.replace(plan.sampling.params(), temperature=plan.config.temperature)
    passes = [(params, plan.config.num_samples)]
    if plan.config.greedy:
        passes.append((dataclasses.replace(params, temperature=0.0), 1))
    for settings, samples in passes:
        for start in range(0, len(plan.examples), CHUNK):
            chunk = plan.examples[start : start + CHUNK]
            yield settings, [(e, sample_keys(plan.seed, e, samples)) for e in chunk]


def _check_same(records: Sequence[EvalRecord], weights: str, settings: Mapping[str, Any]) -> None:
    for record in records:
        if record.weights_hash != weights or record.sampling != settings:
            raise StaleRecords(
                f"the records to go on from were made by other weights or settings: expected {weights[:12]} and "
                f"{dict(settings)}, found {record.weights_hash[:12]} and {dict(record.sampling)}"
            )


def _with_entropy(
    records: Sequence[EvalRecord], groups: Sequence[RolloutGroup], policy: Policy, plan: EvalPlan
) -> list[EvalRecord]:
    sampling = plan.sampling.model_copy(update={"temperature": plan.config.temperature})
    means = iter(entropy_means(policy, groups, sampling, plan.microbatch_tokens))
    return [dataclasses.replace(r, entropy_mean=next(means)) if r.score.ok else r for r in records]
