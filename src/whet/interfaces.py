"""The verbs of the line: what a task, verifier, policy, engine, algorithm, probe, tracker and source promise.

Light things (task, verifier, algorithm, probe) are frozen settings with a few methods: subclass them. Heavy things
(policy, engine, tracker, source) are protocols: have the methods, and that is all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import Field, SerializeAsAny, model_validator

from whet import registry
from whet.errors import ConfigError, DataError, nothing_to_compare
from whet.registry import Plugin
from whet.types import (
    Batch,
    Completion,
    Example,
    Request,
    RolloutGroup,
    SamplingParams,
    Score,
    StepGroups,
    TokenStats,
    Turn,
    TurnRules,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

Split = Literal["train", "test"]
Want = Literal["entropy_gradient", "values"]
Reduction = Literal["sequence_mean", "token_mean", "constant"]
KLEstimator = Literal["k1", "k2", "k3", "weighted_k3"]


class Verifier(Plugin, ABC):
    """Turns the text of a completion into a score."""

    references_win: ClassVar[bool] = False
    """Whether every demonstration has the full value, so that one that has not is a mistake in the data."""
    needs_answer: ClassVar[bool] = False
    """Whether it compares with the example's answer, so that an empty one is a mistake in the data."""
    runs_apart: ClassVar[bool] = False
    """Whether it has processes of its own, whose deadlines are facts about the completion."""

    isolation: Literal["none", "worker"] = "none"
    """worker: scores in a process of its own, which is killed at `timeout_s` and replaced when it dies. none: in the
    run's own process, for what is known to end."""
    timeout_s: float = Field(default=10.0, gt=0.0)
    """Seconds that a worker has for one completion; a later one has no score and no part in the update."""

    @property
    def waits(self) -> bool:
        """Whether `score` mostly waits for another process, so that several at once take less time."""
        return self.isolation == "worker"

    @model_validator(mode="after")
    def _is_apart_once(self) -> Verifier:
        if self.runs_apart and self.isolation == "worker":
            raise ValueError(
                f"{self.name} runs in processes of its own, which end in time: leave isolation at none"
            )
        return self

    def check(self, example: Example) -> None:
        """Raises `DataError` when the example lacks what every score of it needs. Asked before a run."""
        if self.needs_answer and not example.answer.strip():
            raise nothing_to_compare(self.name, example)

    @abstractmethod
    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The score of a completion's text (without prompt and end-of-text token).

        Whatever the text is, a wrong or unreadable one gets status `ok`, a low value and a `detail`. An exception means
        that the verifier itself failed; the caller turns it into status `error`, never into a zero.
        """


class Episode(Protocol):
    """One example played in turns: the policy answers, the episode observes."""

    def step(self, text: str) -> Turn:
        """What one answer's text leads to. Whatever the text is, that is a turn; an exception is a failure on our side.

        A function of the example, the seed and the answers so far, so that a score can be made again.
        """
        ...


class Task(Plugin, ABC):
    """Where examples come from and how completions are scored."""

    is_graded: ClassVar[bool] = False
    """Whether the reward says how well and not whether: then no value is the full one."""

    limit: int | None = Field(default=None, ge=1)
    """Take the first rows of each split only."""
    verifier: Annotated[SerializeAsAny[Verifier] | None, registry.field("verifiers")] = None
    """Replaces the task's own verifier. Training and evaluation share it."""

    @abstractmethod
    def load(self, split: Split) -> Sequence[Example]:
        """All examples of a split, in a fixed order, with unique ids."""

    @abstractmethod
    def default_verifier(self) -> Verifier:
        """What scores this task unless the config names another."""

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of a split, the first `limit` of them.

        Raises `DataError` when `load` gave something else than a sequence of `Example` with texts in them.
        """
        if split not in ("train", "test"):
            raise DataError(f"{self.name} has the splits train and test; found {split!r}")
        found: object = self.load(split)
        if not isinstance(found, Sequence):
            raise DataError(
                f"{self.name}.load({split!r}) gave {found!r:.80}; expected a list of whet.Example"
            )
        for n, example in enumerate(found):
            if not isinstance(example, Example):
                raise DataError(
                    f"{self.name}.load({split!r}) gave {example!r:.80} as its example {n}; expected "
                    "whet.Example(id=..., prompt=..., answer=...)"
                )
            if not (isinstance(example.prompt, str) and isinstance(example.answer, str)):
                raise DataError(
                    f"{self.name}.load({split!r}): expected text in prompt and answer of {example.id!r}, found "
                    f"{example.prompt!r:.80} and {example.answer!r:.80}"
                )
        return found[: self.limit]

    @property
    def is_scored(self) -> bool:
        """Whether there is a verifier, the config's or the task's own. Without one there is only imitation."""
        try:
            return bool(self.verifier or self.default_verifier())
        except ConfigError:
            return False

    def verifier_for(self, example: Example) -> Verifier:
        """What scores the completions of an example."""
        return self.verifier or self.default_verifier()

    def score(self, example: Example, text: str) -> Score:
        """The score of one completion's text, in this process whatever the verifier's `isolation` says."""
        return self.verifier_for(example).score(text, example.answer, example)

    @property
    def has_turns(self) -> bool:
        """Whether episodes may have more than one turn; see `whet.turns.TurnTask`."""
        return False

    def turn_rules(self, example: Example) -> TurnRules:
        """How the episodes of an example go."""
        return TurnRules()

    def start(self, example: Example, seed: int) -> Episode:
        """A new episode, a function of both; the rollouts of a group have one seed. Here a single turn, scored."""
        return OneTurn(self, example)

    def observed_texts(self) -> Sequence[str]:
        """Texts with every character that observations have, for a tokenizer that is made from a task's texts."""
        return ()


class OneTurn(NamedTuple):
    """The episode of a task without turns, whose score whoever plays it may make where the verifier wants it."""

    task: Task
    example: Example

    def step(self, text: str) -> Turn:
        """The only turn, with the task's score."""
        return Turn(done=True, score=self.task.score(self.example, text))


class Algorithm(Plugin, ABC):
    """Says what it needs, turns rewards into advantages, and gives named per-token loss terms.

    The scalar loss of an update is the sum over terms of `(loss_weights * term).sum()`; `reduction` names the weights.
    """

    reduction: ClassVar[Reduction]
    min_group_size: ClassVar[int] = 1
    """2 where the baseline is taken from the group, so that a single completion would teach nothing."""

    still_without_advantage: ClassVar[bool] = True
    """Whether `policy_loss` has no gradient where the advantage is 0: such completions are then not computed."""

    beta: float = Field(default=0.0, ge=0.0)
    """Coefficient of the KL divergence to the frozen reference; 0 needs no reference."""
    kl_estimator: KLEstimator = "weighted_k3"
    """See `functional/kl.py` for what the gradient of each one really is."""
    kl_in: Literal["loss", "reward"] = "loss"
    """In the reward the estimator is k1 per token, and its gradient is that of the reverse KL."""
    entropy_coef: float = Field(default=0.0, ge=0.0)
    """Weight of an entropy bonus in the loss; 0 is off."""
    num_minibatches: int = Field(default=1, ge=1)
    """Updates per pass over a step's completions; a minibatch holds whole groups."""
    num_iterations: int = Field(default=1, ge=1)
    """Passes over a step's completions."""
    tis: float | None = Field(default=None, gt=0.0)
    """Cap of truncated importance sampling, for an engine that computes otherwise than the trainer, as vllm does: each
    token's policy term is multiplied by min(pi_old / pi_sampling, tis). Null is off."""
    mask_truncated_completions: bool = False
    """Give truncated completions no gradient. They still count as sequences, not as tokens."""

    @property
    def num_updates(self) -> int:
        """Optimizer updates per step."""
        return self.num_minibatches * self.num_iterations

    @property
    def needs_old_logprobs(self) -> bool:
        """Whether a pass before the first update records the log-probabilities of the policy that starts the step."""
        return self.num_updates > 1 or (self.needs_reference and self.kl_in == "reward")

    @property
    def needs_reference(self) -> bool:
        """Whether a frozen copy of the policy at step 0 is kept."""
        return self.beta > 0

    def keep(self, group: RolloutGroup) -> bool:
        """Whether the batch takes this group; a refused one is replaced by another prompt's (dynamic sampling)."""
        return True

    def shape(self, batch: Batch) -> Tensor:
        """Rewards `[B, T]` before advantages are taken, for instance with a penalty on overlong completions."""
        return batch.rewards

    @abstractmethod
    def advantages(self, batch: Batch, memory: dict[str, float]) -> Tensor:
        """Advantages `[B, T]` of the rewards `batch.rewards`. What must outlast the step is kept in `memory`."""

    @abstractmethod
    def policy_loss(self, batch: Batch, logprobs: Tensor) -> Tensor:
        """The per-token policy term `[B, T]`; `batch.old_logprobs` None means on-policy (ratio exactly 1)."""


class Policy(Protocol):
    """A language model with its tokenizer. `module` is all that wrappers and the optimizer see."""

    module: nn.Module
    tokenizer: Tokenizer
    version: int
    """Counts the updates of the weights; the trainer raises it by one after each."""
    context_length: int
    packs: bool
    """Whether `forward` reads the prompt of several rows once, and no padding."""

    def forward(self, batch: Batch, want: frozenset[Want] = frozenset()) -> TokenStats:
        """Statistics of the trained tokens of a batch, with gradients when they are enabled."""
        ...

    def save(self, directory: Path) -> None:
        """Writes weights, configuration and tokenizer; equal policies write byte-equal files."""
        ...


class Tokenizer(Protocol):
    """Strings <-> tokens, once. Ids are never decoded and encoded again."""

    vocab_size: int
    eos_id: int
    """Ends a demonstration."""
    stop_ids: frozenset[int]
    """Each of these ends a completion; `eos_id` is among them."""
    bos_ids: tuple[int, ...]
    """What the model expects before a prompt that is no conversation; often nothing."""
    chat_template: str | None
    """The tokenizer's own, in Jinja."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, with nothing added; raises `DataError` for what cannot be encoded."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        ...

    def spell(self, token_ids: Sequence[int]) -> str:
        """The text of ids, special tokens visible."""
        ...

    def render(
        self, messages: Sequence[Mapping[str, str]], template: str, variables: Mapping[str, Any]
    ) -> str:
        """A conversation as the chat template writes it, up to where the assistant answers.

        Raises `ConfigError` with the template's own words when it fails.
        """
        ...

    def save(self, directory: Path) -> None:
        """Writes the tokenizer's files."""
        ...


class Engine(Protocol):
    """Makes completions. Reads the policy's own tensors, or keeps a copy that it proves to be the same."""

    def generate(
        self,
        requests: Iterable[Request],
        params: SamplingParams,
        should_stop: Callable[[], bool] = ...,
        on_token: Callable[[int, int, int], None] | None = ...,
    ) -> Iterator[Completion]:
        """Completions as they finish. Raises `Interrupted` soon after `should_stop` turns true.

        `on_token(request, sample, token id)` sees every token when it is sampled.
        """
        ...


class RowLoss(Protocol):
    """What rows of a minibatch contribute to the loss of their update. The shares of disjoint rows add up to it."""

    def __call__(self, rows: Tensor) -> Tensor:
        """The share of some rows (int64 positions), differentiable; holds the graph of all of them at once."""
        ...

    def gradient(self, rows: Tensor) -> Tensor:
        """The gradient of that share as one vector over all trained parameters, before clipping."""
        ...


class Probe(Plugin, ABC):
    """Looks at training without touching it: weights are bit-equal with every probe on or off."""

    every: int = Field(default=1, ge=1)
    """Steps between two looks."""

    def scored(self, groups: Sequence[RolloutGroup]) -> Mapping[str, float]:
        """Metrics of a step's groups, as they came from the verifier."""
        return {}

    def annotated(self, batch: Batch) -> Mapping[str, float]:
        """Metrics of the batch with its advantages."""
        return {}

    def before_update(self, batch: Batch, loss_of: RowLoss) -> Mapping[str, float]:
        """Metrics before an update; `loss_of` gives losses and gradients of some rows of the minibatch."""
        return {}

    def after_update(self, batch: Batch) -> Mapping[str, float]:
        """Metrics after an update."""
        return {}


class Tracker(Protocol):
    """Takes the metrics of a step somewhere."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Records one step; metrics are finite numbers by name."""
        ...

    def close(self) -> None:
        """Flushes and lets go."""
        ...


class Source(Protocol):
    """Where a step's scored groups come from. Its state is part of every checkpoint."""

    @property
    def epoch(self) -> float:
        """Passes over the training prompts so far."""
        ...

    def take(self, step: int) -> StepGroups:
        """The scored groups of a step; a function of the step and the state. The state moves on."""
        ...

    def observe(self, groups: StepGroups) -> None:
        """Learns from a finished step, for instance pass rates for a curriculum."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """JSON-ready state."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes a saved state back."""
        ...
