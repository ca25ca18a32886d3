"""Jobs of a fraction of a second: a GPT of one layer echoes letters for a graded reward."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from whet.config import Config, load_config
from whet.engines.native import Native
from whet.interfaces import Split, Task, Verifier
from whet.policies.from_scratch import FromScratch, FromScratchPolicy
from whet.runs.directory import RunDirectory
from whet.seeding import key
from whet.types import Completion, Example, Request, Rollout, RolloutGroup, SamplingParams, Score
from whet.verifiers.exact import Exact

TIMED = ("time/", "perf/")


def letters_right(text: str, answer: str) -> float:
    """The share of places that hold the right letter: graded, so that random weights find a signal."""
    places = max(len(text), len(answer))
    return sum(a == b for a, b in zip(text, answer, strict=False)) / places


def config(root: Path, **changes: Any) -> Config:
    """Two prompts x four completions a step. `changes` are merged over it, section by section."""
    base = {
        "seed": 3,
        "max_steps": 4,
        "save_every": 0,
        "runs_root": str(root),
        "trackers": ["jsonl"],
        "num_threads": 1,
        "task": {
            "name": "echo",
            "alphabet": "abc",
            "min_length": 1,
            "max_length": 2,
            "num_train": 8,
            "num_test": 2,
        },
        "verifier": {"name": "tiny:letters_right", "isolation": "none"},  # so that tests may replace it
        "policy": {
            "name": "from_scratch",
            "num_layers": 1,
            "num_heads": 2,
            "width": 16,
            "context_length": 8,
            "alphabet": "abc",
        },
        "batch": {"prompts_per_step": 2, "num_generations": 4, "microbatch_tokens": 24},
        "sampling": {"max_prompt_length": 4, "max_completion_length": 3},
        "optimizer": {"learning_rate": 0.01},
        "eval": {"at_start": False, "at_end": False, "greedy": False},
    }
    return load_config([base, changes])


class StopAt:
    """In place of `StopSignal`: turns true at its n-th poll. `polls` counts them."""

    def __init__(self, poll: int | None = None) -> None:
        self.poll = poll
        self.polls = 0
        self.number: int | None = None

    def __call__(self) -> bool:
        self.polls += 1
        return self.poll is not None and self.polls >= self.poll

    def __enter__(self) -> "StopAt":
        return self

    def __exit__(self, *args: object) -> None: ...


def outcome(run: RunDirectory, spec: str = "latest") -> dict[str, Any]:
    """All that two equal runs must have in common, to the byte; wall times and the path are left out."""
    path = run.checkpoint(spec)
    state = json.loads((path / "state.json").read_bytes())
    for name in ("seconds", "log_sizes", "max_steps"):
        state.pop(name)
    return {
        "checkpoint": path.name,
        "files": {
            p.relative_to(path).as_posix(): p.read_bytes()
            for p in sorted(path.rglob("*"))
            if p.is_file() and p.name not in ("state.json", "manifest.json")
        },
        "state": state,
        "rollouts": run.rollouts_log.read_bytes(),
        "log": [_untimed(line) for line in run.train_log.read_text().splitlines()],
        "evals": {
            p.relative_to(run.evals).as_posix(): p.read_bytes() for p in sorted(run.evals.rglob("*.json*"))
        },
    }


def _untimed(line: str) -> dict[str, float]:
    return {k: v for k, v in json.loads(line).items() if not k.startswith(TIMED)}


def policy(seed: int = 0, width: int = 16, layers: int = 1, context: int = 16) -> FromScratchPolicy:
    """Random weights over the letters a, b, c and `=`."""
    sizes = FromScratch(num_layers=layers, num_heads=2, width=width, context_length=context)
    return sizes.build(["abc="], seed, torch.device("cpu"))


def example(prompt: str = "ab=", answer: str = "ab", **more: Any) -> Example:
    """A problem with an id of its own text."""
    return Example(id=more.pop("id", prompt), prompt=prompt, answer=answer, **more)


def scored(value: float | None) -> Score:
    """A score, or a failure on our side."""
    return Score.failed("error", "broken") if value is None else Score(value=value)


def groups(
    policy: FromScratchPolicy, rewards: Sequence[Sequence[float | None]], max_completion_length: int = 6
) -> list[RolloutGroup]:
    """One group per list of rewards, really sampled from the policy; None is a reward that failed."""
    prompts = ["ab=", "c=", "bca=", "aa=", "b="]
    keys = [tuple(key(1, "tiny", g, i) for i in range(len(values))) for g, values in enumerate(rewards)]
    wanted = [
        Request(prompt_ids=tuple(policy.tokenizer.encode(p)), keys=k)
        for p, k in zip(prompts, keys, strict=False)
    ]
    params = SamplingParams(max_completion_length=max_completion_length)
    made = {(c.request, c.sample): c for c in Native().build(policy).generate(wanted, params)}
    return [
        RolloutGroup(
            example=example(prompts[g]),
            rollouts=tuple(
                rollout(wanted[g].prompt_ids, made[g, i], value) for i, value in enumerate(values)
            ),
        )
        for g, values in enumerate(rewards)
    ]


def rollout(prompt_ids: tuple[int, ...], completion: Completion, value: float | None) -> Rollout:
    """A completion as the trainer sees it."""
    start, length = len(prompt_ids), len(completion.token_ids)
    return Rollout(
        example=example(),
        token_ids=prompt_ids + completion.token_ids,
        loss_mask=(False,) * start + (True,) * length,
        sampling_logprobs=(0.0,) * start + completion.logprobs,
        finish_reason=completion.finish_reason,
        policy_version=completion.policy_version,
        text=completion.text,
        score=scored(value),
    )


class Rows(Task):
    """Examples by hand: `prompt=answer` texts; the demonstration is the answer when there are to be any."""

    train: tuple[str, ...] = ("a=a", "b=b", "c=c", "ab=ab")
    test: tuple[str, ...] = ("bc=bc",)
    has_demonstrations: bool = False
    mark: str = "="

    def load(self, split: Split) -> Sequence[Example]:
        """The rows of a split."""
        pairs = [row.split("=") for row in (self.train if split == "train" else self.test)]
        shown = self.has_demonstrations
        return [
            example(
                f"{p}{self.mark}",
                a,
                id=f"{p}=" if self.mark else f"row {i}",
                demonstration=a if shown else None,
            )
            for i, (p, a) in enumerate(pairs)
        ]

    def default_verifier(self) -> Verifier:
        """`exact`."""
        return Exact(name="exact")
