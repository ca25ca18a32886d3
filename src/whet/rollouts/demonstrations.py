"""Demonstrations as rollouts that the policy might have sampled: what supervised stages learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whet.errors import DataError
from whet.interfaces import Policy
from whet.rollouts.prompts import PromptSampler
from whet.text.prompts import PromptEncoder
from whet.types import Example, Rollout, RolloutGroup, Score, StepGroups


class DemonstrationSource:
    """Groups of one demonstration each, in an order that the seed and the epoch decide."""

    def __init__(self, rollouts: Sequence[Rollout], seed: int, per_step: int) -> None:
        self._by_id = {r.example.id: r for r in rollouts}
        self._prompts = PromptSampler([r.example for r in rollouts], seed)
        self._per_step = per_step

    @property
    def epoch(self) -> float:
        """Passes over the demonstrations so far."""
        return self._prompts.epoch

    def take(self, step: int) -> StepGroups:
        """The next demonstrations; a step may run over the end of an epoch."""
        rollouts = [self._by_id[e.id] for e in self._prompts.draw(self._per_step)]
        return StepGroups(admitted=tuple(RolloutGroup(example=r.example, rollouts=(r,)) for r in rollouts))

    def observe(self, groups: StepGroups) -> None:
        """Nothing to learn: every demonstration is as likely as before."""

    def state_dict(self) -> dict[str, Any]:
        """JSON-ready state."""
        return {"position": self._prompts.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes a saved state back."""
        self._prompts.position = state["position"]


def demonstrations(policy: Policy, encode: PromptEncoder, examples: Sequence[Example]) -> list[Rollout]:
    """The demonstrations as rollouts; raises `DataError` when there is none, or one exceeds the context."""
    taught = [_demonstration(e, policy, encode) for e in examples if e.demonstration is not None]
    if not taught:
        raise DataError(
            "there is nothing to imitate: no example of the task has a demonstration. Name the field that holds it "
            "(task.demonstration of a jsonl task), or leave the supervised stage out"
        )
    return taught


def _demonstration(example: Example, policy: Policy, encode: PromptEncoder) -> Rollout:
    assert example.demonstration is not None
    prompt = encode(example)
    completion = [*policy.tokenizer.encode(example.demonstration), encode.end_id]
    length = len(prompt) + len(completion)
    if length > policy.context_length:
        raise DataError(
            f"prompt and demonstration of {example.id} have {length} tokens; policy.context_length is "
            f"{policy.context_length}"
        )
    return Rollout(
        example=example,
        token_ids=(*prompt, *completion),
        loss_mask=(False,) * len(prompt) + (True,) * len(completion),
        sampling_logprobs=(0.0,) * length,
        finish_reason="stop",
        policy_version=policy.version,
        text=example.demonstration,
        score=Score(value=0.0),
    )
