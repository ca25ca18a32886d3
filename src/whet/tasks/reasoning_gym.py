"""The generators of the library reasoning-gym (Stojanovski et al. 2025, arXiv 2505.24760): over a hundred kinds."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator

from whet.errors import ConfigError, DataError, RunError
from whet.interfaces import Split, Task, Verifier
from whet.sandbox import pool
from whet.tasks import _gym_worker
from whet.text.questions import normalise_question
from whet.text.tags import tagged
from whet.types import Example, Score

_SCORE = "whet.tasks._gym_worker:score"
_MEMORY_MB = 1024


class ReasoningGym(Task):
    """Questions of one generator, such as `leg_counting`, scored by its own scorer (needs the extra `reasoning_gym`).

    A hash of the question decides its side of the split, whatever the seed. The scorer runs in a worker with a
    deadline. Tag: `dataset`. Several generators at once are a `mixture`.
    """

    dataset: str
    """The generator, such as `leg_counting`, `sudoku` or `knights_knaves`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The generator's own settings, for instance `{min_animals: 2}`."""
    seed: int = Field(default=0, ge=0)
    num_train: int = Field(default=500, ge=1)
    num_test: int = Field(default=100, ge=1)
    prompt_format: str = "{question}\n\nGive the final answer alone between <answer> and </answer>.\n"
    extract: Literal["tagged", "text"] = "tagged"
    """What is scored. tagged: the last `<answer>` pair. text: the whole completion."""
    timeout_s: float = Field(default=20.0, gt=0.0)
    """Deadline of one score. A worker that has just started loads the library within it."""

    @field_validator("prompt_format")
    @classmethod
    def _has_the_question(cls, value: str) -> str:
        if "{question}" not in value:
            raise ValueError("expected a text with {question}, such as '{question}\\nAnswer:'")
        return value

    def load(self, split: Split) -> Sequence[Example]:
        """The questions of a split; the demonstration is a right answer, where the generator says one.

        Raises `ConfigError` for what is no generator or no setting of it, and for too few different questions.
        """
        entries = _made(self.dataset, json.dumps(self.settings), self.seed, self.num_train, self.num_test)
        return [self._example(entry) for entry in entries[split]]

    def default_verifier(self) -> Verifier:
        """The generator's scorer, 0 to 1; many give a share for what is nearly right."""
        return self._scorer

    @cached_property
    def _scorer(self) -> _Scorer:
        return _Scorer(
            name="reasoning_gym",
            dataset=self.dataset,
            settings=self.settings,
            seed=self.seed,
            extract=self.extract,
            timeout_s=self.timeout_s,
        )

    def _example(self, entry: Mapping[str, Any]) -> Example:
        question = normalise_question(entry["question"])
        digest = hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        gold = _gym_worker.gold_of(self.dataset, entry)
        marked = f"<answer>{gold}</answer>" if self.extract == "tagged" else gold
        return Example(
            id=f"reasoning_gym/{self.dataset}/{digest}",
            prompt=self.prompt_format.replace("{question}", entry["question"]),
            answer=gold or "",
            demonstration=None if gold is None else marked,
            tags={"dataset": self.dataset},
            columns={"question": entry["question"], "entry": entry},
        )


class _Scorer(Verifier):
    dataset: str
    settings: dict[str, Any]
    seed: int
    extract: Literal["tagged", "text"]
    timeout_s: float

    @property
    def waits(self) -> bool:
        return True

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        entry = example.columns.get("entry") if example else None
        if entry is None:
            raise DataError("reasoning_gym scores an answer to one of its questions: give the example")
        said = self._said(text, answer)
        if not said:
            return Score(value=0.0, detail="no_answer")
        try:
            found = self._judged(entry, said)
        except (pool.WorkerTimeout, pool.WorkerLost) as error:
            detail = "too_slow" if isinstance(error, pool.WorkerTimeout) else "worker_lost"
            return self._not_judged(entry, detail)
        if not math.isfinite(found["value"]):
            return Score.failed("invalid", f"the scorer of {self.dataset} returned {found['value']}")
        detail = "" if found["value"] >= 1 else "partial" if found["value"] > 0 else "wrong"
        return Score(value=found["value"], detail=found["detail"] or detail)

    def _said(self, text: str, answer: str) -> str:
        """What is scored; white space at its ends counts only where the right answer has some."""
        if self.extract == "tagged":
            pairs = tagged(text, "answer")
            text = pairs[-1] if pairs else ""
        return text.strip() if answer == answer.strip() else text

    def _judged(self, entry: Mapping[str, Any], text: str) -> dict[str, Any]:
        args = (self.dataset, self.settings, self.seed, entry, text)
        if pool.is_worker():  # its caller has the deadline
            return _gym_worker.score(*args)
        found: dict[str, Any] = pool.shared().call(
            _SCORE, *args, timeout_s=self.timeout_s, memory_mb=_MEMORY_MB
        )
        return found

    def _not_judged(self, entry: Mapping[str, Any], detail: str) -> Score:
        """The text's fault when the scorer can judge a right answer, or ours."""
        try:
            self._judged(entry, _gym_worker.gold_of(self.dataset, entry) or "")
        except pool.WorkerTimeout:
            return Score.failed("timeout", f"{self.dataset}: no score after {self.timeout_s:g} s")
        except pool.WorkerLost as error:
            return Score.failed("error", f"{self.dataset}: {error}")
        return Score(value=0.0, detail=detail)


@functools.lru_cache(maxsize=32)
def _made(dataset: str, settings: str, seed: int, num_train: int, num_test: int) -> dict[str, list[Any]]:
    """The entries of both splits, from a process with a hash seed that never changes."""
    request = {
        "dataset": dataset,
        "settings": json.loads(settings),
        "seed": seed,
        "wanted": {"train": num_train, "test": num_test},
    }
    process = pool.spawn(
        [sys.executable, "-m", _gym_worker.__name__, json.dumps(request)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    out, errors = process.communicate()
    if process.returncode:
        raise RunError(f"making questions of {dataset} failed: {errors.decode(errors='replace')[-500:]}")
    answer = pickle.loads(out)  # from our own process
    if "problem" in answer:
        raise ConfigError(answer["problem"])
    entries: dict[str, list[Any]] = answer["entries"]
    return entries
