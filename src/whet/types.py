"""The nouns of the line, in the order in which they appear.

    Example -> Request -> Completion -> Rollout (+ Score) -> RolloutGroup -> Batch -> TokenStats

Sizes: B sequences, T tokens, G completions of one prompt, N sequences in an update. Column t of every `[B, T]`
tensor speaks about token t: `logprobs[:, t]` is the log-probability of token t given the tokens before it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from whet.errors import ConfigError, DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FinishReason = Literal["stop", "length", "timeout"]
ObserverRole = Literal["user", "tool"]
Status = Literal["ok", "skipped", "error", "timeout", "invalid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One problem of a task. Made by a task, never changed."""

    id: str
    """Unique within the task and stable from run to run."""
    prompt: str
    answer: str = ""
    """What the verifier compares with."""
    demonstration: str | None = None
    """A completion worth imitating, for the warm start; without the end-of-text token."""
    messages: tuple[Mapping[str, str], ...] = ()
    """The conversation that asks, where the data has one: `role` and `content` each; `prompt` is then its last text."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Labels such as difficulty or operation; evaluation reports each one."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Everything else that the row held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How completions are drawn. Training samples the full tempered distribution (no top-p, top-k, min-p)."""

    max_completion_length: int = 256
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 is off."""
    min_p: float = 0.0
    stop: tuple[str, ...] = ()
    """A completion ends once its text holds one of these; they are cut from the text, not from the tokens."""
    timeout_s: float | None = None
    """Seconds from its first token after which a completion ends where it is."""

    def __post_init__(self) -> None:
        allowed = {
            "max_completion_length": self.max_completion_length >= 1,
            "temperature": 0 <= self.temperature < math.inf,
            "top_p": 0 < self.top_p <= 1,
            "top_k": self.top_k >= 0,
            "min_p": 0 <= self.min_p <= 1,
            "stop": not isinstance(self.stop, str) and all(self.stop),
            "timeout_s": self.timeout_s is None or self.timeout_s > 0,
        }
        if bad := [f"{name} = {getattr(self, name)!r}" for name, is_good in allowed.items() if not is_good]:
            raise ConfigError(
                f"{', '.join(bad)} cannot be sampled with; expected max_completion_length >= 1, temperature >= 0 "
                "(0 is greedy), 0 < top_p <= 1, top_k >= 0 (0 is off), 0 <= min_p <= 1, stop a tuple of texts, and "
                "timeout_s > 0"
            )

    @property
    def is_full_distribution(self) -> bool:
        """Whether sampling draws from the whole softmax, so that its log-probabilities are the policy's own."""
        return self.temperature > 0 and self.top_p == 1.0 and self.top_k == 0 and self.min_p == 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an engine is asked for: `len(keys)` completions of one prompt."""

    prompt_ids: tuple[int, ...]
    keys: tuple[int, ...]
    """One key per completion (see `seeding.key`): the same key draws the same uniforms on every device."""
    max_completion_length: int | None = None
    """Of these completions, where it is less than that of the sampling settings."""

    def __post_init__(self) -> None:
        if self.max_completion_length is not None and self.max_completion_length < 1:
            raise DataError(
                f"max_completion_length of a request is {self.max_completion_length}; expected 1 or more"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What an engine gives back, in the order in which completions finish."""

    request: int
    """Position of the request in the iterable."""
    sample: int
    """Position of its key within the request."""
    token_ids: tuple[int, ...]
    """With the end-of-text token when that ended it."""
    logprobs: tuple[float, ...]
    """Of the distribution really sampled from, one per token; at temperature 0 of the untempered softmax."""
    finish_reason: FinishReason
    policy_version: int
    """Of the oldest weights that took part."""
    text: str
    """A view of the tokens: without end-of-text, cut before a stop string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a verifier says of one completion.

    `status` is `ok` whatever the model's text did: wrong, empty or unreadable is a low value, and `detail` names the
    reason. `skipped`: the verifier says that it does not apply to this completion. The other states are failures on
    our side. Without `ok` the `value` is NaN and the rollout gets no gradient.
    """

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)
    """Named shares of the value, logged one by one."""
    status: Status = "ok"
    detail: str = ""
    """A short reason such as `no_answer`; counted in the metrics."""

    def __post_init__(self) -> None:
        if (self.status == "ok") != math.isfinite(self.value):
            raise ValueError(f"a score is a finite number exactly when its status is ok: {self}")

    @classmethod
    def failed(cls, status: Literal["error", "timeout", "invalid"], detail: str) -> Score:
        """A failure on our side, without a value."""
        return cls(value=math.nan, status=status, detail=detail)

    @classmethod
    def skipped(cls, detail: str) -> Score:
        """No value, because the verifier does not apply to this completion."""
        return cls(value=math.nan, status="skipped", detail=detail)

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.status == "ok"

    @property
    def is_failure(self) -> bool:
        """Whether there should be a value, and something on our side went wrong."""
        return self.status not in ("ok", "skipped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What an episode says to one answer of the policy."""

    observation: str = ""
    """What the policy reads before its next answer."""
    reward: float = 0.0
    """The score of an episode is the sum over its turns."""
    done: bool = False
    """Whether this answer was the last."""
    detail: str = ""
    """A short reason such as `no_answer`; that of the last turn becomes the score's."""
    score: Score | None = None
    """Of the whole episode, in place of the sum, where a verifier judges the last answer."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.reward):
            raise ValueError(f"the reward of a turn is a finite number: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRules:
    """How the episodes of an example go."""

    max_turns: int = 1
    """Answers at most."""
    role: ObserverRole = "user"
    """Whose message an observation is where prompts are conversations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One sequence as the policy saw it: aligned lists of one length, prompt first.

    In an episode of several turns observations stand between the answers; `loss_mask` is false there.
    """

    example: Example
    token_ids: tuple[int, ...]
    loss_mask: tuple[bool, ...]
    """True where the policy sampled the token."""
    sampling_logprobs: tuple[float, ...]
    """0.0 where `loss_mask` is false."""
    finish_reason: FinishReason
    policy_version: int
    text: str
    """What was scored: the completion; of an episode its answers and observations in turn, a line break between."""
    score: Score
    answers: tuple[str, ...] = ()
    """Of an episode the text of each answer: with the seed they make the score again. Else empty."""

    def __post_init__(self) -> None:
        if not len(self.token_ids) == len(self.loss_mask) == len(self.sampling_logprobs):
            raise ValueError("token_ids, loss_mask and sampling_logprobs of a rollout have one length")

    @property
    def completion_length(self) -> int:
        """Number of sampled tokens."""
        return sum(self.loss_mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutGroup:
    """The G rollouts of one prompt. Those without a value are still in it; the batch leaves them out."""

    example: Example
    rollouts: tuple[Rollout, ...]

    @property
    def scored(self) -> tuple[Rollout, ...]:
        """The rollouts that have a value."""
        return tuple(r for r in self.rollouts if r.score.ok)

    @property
    def has_signal(self) -> bool:
        """Whether the rewards differ, so that a group baseline leaves anything to learn from."""
        return len({r.score.value for r in self.scored}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepGroups:
    """The groups of one step."""

    admitted: tuple[RolloutGroup, ...]
    """What is trained on."""
    refused: tuple[RolloutGroup, ...] = ()
    """What dynamic sampling turned away; counted in the metrics only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rollouts as tensors, right-padded. Filled from left to right along the line; `None` is not computed (yet)."""

    token_ids: Tensor  # [B, T] int64, 0 beyond a row's length
    lengths: Tensor  # [B] int64, prompt and completion
    loss_mask: Tensor  # [B, T] bool, true where the token is trained
    group: Tensor  # [B] int64, which prompt of the step
    truncated: Tensor  # [B] bool, finish_reason other than "stop"
    rewards: Tensor  # [B, T] float32, zero except where a reward arrives
    sampling_logprobs: Tensor  # [B, T] float32
    temperature: float = 1.0
    """Log-probabilities are those of softmax(logits / temperature)."""
    max_completion_length: int = 1
    """The run's setting, a denominator of Dr. GRPO; not the length of any row."""
    old_logprobs: Tensor | None = None  # [B, T], of the policy at the start of the step
    ref_logprobs: Tensor | None = None  # [B, T], of the frozen reference
    values: Tensor | None = None  # [B, T], of the state before each token
    advantages: Tensor | None = None  # [B, T]
    loss_weights: Tensor | None = None  # [B, T], carries the denominator of the whole update

    def __len__(self) -> int:
        return int(self.token_ids.shape[0])

    def rows(self, index: Tensor) -> Batch:
        """These rows (int64 positions or a bool mask), cut to the longest of them."""
        width = int(self.lengths[index].max()) if len(self.lengths[index]) else 0
        cut: dict[str, Any] = {
            name: value[index][:, :width] if value.dim() == 2 else value[index]
            for name, value in self.tensors().items()
        }
        return dataclasses.replace(self, **cut)

    def to(self, device: torch.device) -> Batch:
        """This batch on a device."""
        moved: dict[str, Any] = {name: value.to(device) for name, value in self.tensors().items()}
        return dataclasses.replace(self, **moved)

    def tensors(self) -> dict[str, Tensor]:
        """Every field that holds a tensor, by name."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: v for name, v in values.items() if v is not None and not isinstance(v, int | float)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStats:
    """What a policy says of the tokens of a batch: float32 `[B, T]`, zero outside `loss_mask`."""

    logprobs: Tensor
    entropy: Tensor  # of the distribution that token t was drawn from, in nats
    values: Tensor | None = None
