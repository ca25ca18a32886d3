"""One line per evaluated completion, so that every number of an evaluation can be computed again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.errors import DataError
from whet.runs.reader import read_jsonl
from whet.seeding import key
from whet.tracking.jsonl import JsonlLog
from whet.types import Example, FinishReason, Rollout, SamplingParams, Score


class StaleRecords(DataError):
    """Stored records belong to another evaluation: other weights, settings or problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRecord:
    """One completion of one problem: what was asked, what came, what it was worth, and whose it is."""

    problem: str
    """The example's id."""
    sample: int
    greedy: bool
    """From the pass at temperature 0, which has one completion per problem."""
    prompt: str
    prompt_hash: str
    """SHA-256 of the prompt's token ids: tells chat templates and tokenizers apart."""
    answer: str
    tags: Mapping[str, str]
    token_ids: tuple[int, ...]
    """Of the completion; of an episode those of its answers."""
    text: str
    """What was scored."""
    finish_reason: FinishReason
    score: Score
    logprob_sum: float
    """In nats, of the distribution sampled from; of the untempered softmax in the greedy pass."""
    entropy_mean: float | None
    """In nats per token, of the distributions that the tokens were drawn from; None was not computed."""
    weights_hash: str
    sampling: Mapping[str, Any]
    """The settings that the completion was drawn with, seed included."""
    answers: tuple[str, ...] = ()
    """Of an episode the text of each answer; empty where the task has no turns."""

    @property
    def place(self) -> tuple[str, int, bool]:
        """What tells it from the other records of an evaluation."""
        return self.problem, self.sample, self.greedy

    @property
    def length(self) -> int:
        """Number of tokens, end-of-text included."""
        return len(self.token_ids)


def sample_keys(seed: int, example: Example, samples: int) -> tuple[int, ...]:
    """By the example's id, not its place: a subset of the problems draws the same samples."""
    return tuple(key(seed, f"eval {example.id}", i) for i in range(samples))


def settings_of(params: SamplingParams, seed: int) -> dict[str, Any]:
    """The sampling settings of a pass as JSON values."""
    return {**dataclasses.asdict(params), "stop": list(params.stop), "seed": seed}


def record_of(rollout: Rollout, sample: int, settings: Mapping[str, Any], weights_hash: str) -> EvalRecord:
    """The record of a scored rollout; its entropy is not known yet."""
    sampled = [t for t, mine in zip(rollout.token_ids, rollout.loss_mask, strict=True) if mine]
    prompt = rollout.token_ids[: rollout.loss_mask.index(True)]
    return EvalRecord(
        problem=rollout.example.id,
        sample=sample,
        greedy=settings["temperature"] == 0,
        prompt=rollout.example.prompt,
        prompt_hash=hashlib.sha256(json.dumps(prompt).encode()).hexdigest(),
        answer=rollout.example.answer,
        tags=dict(rollout.example.tags),
        token_ids=tuple(sampled),
        text=rollout.text,
        finish_reason=rollout.finish_reason,
        score=rollout.score,
        logprob_sum=math.fsum(rollout.sampling_logprobs),
        entropy_mean=None,
        weights_hash=weights_hash,
        sampling=settings,
        answers=rollout.answers,
    )


def append(path: Path, records: Iterable[EvalRecord]) -> None:
    """Adds records to a JSONL file; a line that a crash cut off is removed first."""
    log = JsonlLog(path)
    try:
        log.append(*map(dataclasses.asdict, records))
    finally:
        log.close()


def read(path: Path) -> list[EvalRecord]:
    """The records of a JSONL file, without a last line that a crash cut off; none when there is no file.

    Raises `DataError` naming the line for anything that is not a record.
    """
    lines = enumerate(read_jsonl(path), start=1)
    return [_parse(values, f"{path}, line {number}") for number, values in lines]


def _parse(values: dict[str, Any], where: str) -> EvalRecord:
    try:
        stored = values["score"]
        score = Score(**{**stored, "value": _number(stored["value"])})
        known = {"score": score, "token_ids": tuple(values["token_ids"])}
        known["answers"] = tuple(values.get("answers", ()))
        return EvalRecord(**{**values, **known, "logprob_sum": _number(values["logprob_sum"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{where}: expected the record of one evaluated completion: {error}") from error


def _number(value: float | None) -> float:
    """JSON has no NaN: a failure has no value, and a policy that fell apart no log-probability."""
    return math.nan if value is None else value
