"""Hand-made records, and a tiny policy with a scripted engine."""

import dataclasses

import pytest
import torch

from whet.config import EvalConfig, PromptConfig, SamplingConfig
from whet.engines.scripted import Scripted
from whet.evals.evaluate import EvalPlan
from whet.evals.records import EvalRecord
from whet.interfaces import Task, Verifier
from whet.policies.from_scratch import FromScratch
from whet.types import Example, Score


class Equals(Verifier):
    """Right when the text is the answer; `boom` breaks the verifier itself."""

    def score(self, text, answer, example=None):
        if text == "boom":
            raise RuntimeError("the verifier broke")
        return Score(value=float(text == answer), detail="" if text else "no_answer")


class Sums(Task):
    """A few sums; the training split has others."""

    def load(self, split):
        pairs = [(1, 2), (3, 4), (5, 6), (7, 8)] if split == "test" else [(2, 2), (3, 5)]
        return [
            Example(
                id=f"{split}-{a}",
                prompt=f"{a}+{b}=",
                answer=str(a + b),
                tags={"size": "big" if a > 4 else "small"},
            )
            for a, b in pairs
        ]

    def default_verifier(self):
        return Equals()


def make_record(problem="p0", sample=0, value=1.0, **changes):
    record = EvalRecord(
        problem=problem,
        sample=sample,
        greedy=False,
        prompt=f"{problem}?",
        prompt_hash="0" * 64,
        answer="3",
        tags={},
        token_ids=(1, 2),
        text="3",
        finish_reason="stop",
        score=Score(value=value) if value is not None else Score.failed("timeout", "slow"),
        logprob_sum=-1.0,
        entropy_mean=None,
        weights_hash="w",
        sampling={"temperature": 1.0},
    )
    return dataclasses.replace(record, **changes)


@pytest.fixture
def record():
    return make_record


@pytest.fixture(scope="session")
def policy():
    return FromScratch(num_layers=1, num_heads=1, width=8, context_length=32).build(
        ["0123456789+=bom"], seed=0, device=torch.device("cpu")
    )


@pytest.fixture
def engine(policy):
    """Says: 1+2=3 always; 3+4 once in two; 5+6 never; 7+8 breaks the verifier the second time."""
    script = {"1+2=": ("3",), "3+4=": ("7", "8"), "5+6=": ("", "1111"), "7+8=": ("15", "boom")}
    return Scripted(completions=script).build(policy)


@pytest.fixture
def plan():
    task = Sums()
    return EvalPlan(
        task=task,
        examples=task.examples("test"),
        config=EvalConfig(num_samples=2),
        sampling=SamplingConfig(max_completion_length=4),
        seed=7,
        prompt=PromptConfig(),
    )
