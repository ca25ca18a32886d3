"""One validated config for a run: defaults here < YAML files, left to right < `key.sub=value`."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny, model_validator

from whet import registry
from whet.interfaces import Algorithm, Probe, Task, Verifier
from whet.registry import Plugin, Settings
from whet.types import SamplingParams


class BatchConfig(Settings):
    """How much is sampled per step. Completions per step = prompts_per_step x num_generations."""

    prompts_per_step: int = Field(default=32, ge=1)
    num_generations: int = Field(default=8, ge=1)
    """Completions per prompt (the group)."""
    max_generation_rounds: int = Field(default=10, ge=1)
    """Rounds of sampling in which a step replaces refused groups (dynamic sampling); then it goes on with fewer."""
    microbatch_tokens: int = Field(default=16384, ge=1)
    """Padded tokens per forward pass: a memory limit that changes nothing beyond rounding."""


class SamplingConfig(Settings):
    """How rollouts are drawn: from the full tempered distribution."""

    max_prompt_length: int = Field(default=512, ge=1)
    """Tokens; a longer prompt is an error, never cut."""
    max_completion_length: int = Field(default=256, ge=1)
    temperature: float = Field(default=1.0, gt=0.0)
    stop: tuple[str, ...] = ()
    """A completion ends once its text holds one of these."""

    def params(self) -> SamplingParams:
        """For the engine."""
        return SamplingParams(
            max_completion_length=self.max_completion_length, temperature=self.temperature, stop=self.stop
        )


class OptimizerConfig(Settings):
    """AdamW and its schedule."""

    learning_rate: float = Field(default=1e-6, gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0.0)
    max_grad_norm: float = Field(default=1.0, gt=0.0)
    """The gradient is scaled down to this norm."""
    warmup_steps: int = Field(default=0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    schedule_steps: int | None = Field(default=None, ge=1)
    """Steps until the schedule ends; default: the run's original max_steps. Beyond it the final rate holds."""


class WarmStartConfig(Settings):
    """Supervised steps on demonstrations before step 1: RL sharpens what is latent."""

    steps: int = Field(ge=1)
    batch_size: int = Field(default=64, ge=1)
    """Demonstrations per step."""
    microbatch_tokens: int = Field(default=16384, ge=1)
    """Padded tokens per forward pass."""
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3)


class EvalConfig(Settings):
    """What is measured on held-out problems, and when."""

    task: Annotated[SerializeAsAny[Task] | None, registry.field("tasks")] = None
    """Default: the training task."""
    split: Literal["train", "test"] = "test"
    limit: int | None = Field(default=None, ge=1)
    """The first problems only."""
    num_samples: int = Field(default=1, ge=1)
    """Completions per problem for the sampled metrics; 0 < k <= num_samples in pass@k."""
    temperature: float = Field(default=1.0, gt=0.0)
    greedy: bool = True
    """Also one completion per problem at temperature 0."""
    at_start: bool = True
    at_end: bool = True
    allow_overlap: bool = False
    """Evaluate although training questions are among the evaluation questions; every result says so."""


class StopConfig(Settings):
    """When a run ends before max_steps."""

    when: str | None = None
    """A condition on a metric, such as `eval/pass@1 >= 0.95`."""
    no_signal_steps: int = Field(default=50, ge=1)
    """Steps in a row without one group whose rewards differ."""
    max_failed_frac: float = Field(default=0.2, ge=0.0, le=1.0)
    """Share of a step's rewards that may fail on our side."""


def _runs_root() -> str:
    return os.environ.get("WHET_RUNS", "runs")


class Config(Settings):
    """Everything a run depends on. It is written into the run and can itself be run."""

    seed: int = 0
    max_steps: int | None = Field(default=None, ge=1)
    num_epochs: float | None = Field(default=None, gt=0.0)
    """Passes over the training prompts; with max_steps the smaller of the two ends the run."""
    save_every: int = Field(default=50, ge=0)
    """Steps between checkpoints; 0 saves at the end only."""
    keep_checkpoints: int | None = Field(default=None, ge=1)
    """Keep the newest ones and the best; default: all."""
    eval_every: int = Field(default=0, ge=0)
    """Steps between evaluations; 0 is off."""
    logging_every: int = Field(default=1, ge=1)
    log_completions: bool = True
    """Write every rollout to logs/rollouts.jsonl."""
    runs_root: str = Field(default_factory=_runs_root)
    trackers: tuple[str, ...] = ("jsonl", "tensorboard")
    device: str = "auto"
    num_threads: int | None = Field(default=None, ge=1)
    """CPU threads of torch; default: torch's own choice."""
    task: Annotated[SerializeAsAny[Task], registry.field("tasks")]
    verifier: Annotated[SerializeAsAny[Verifier] | None, registry.field("verifiers")] = None
    """Replaces the task's own verifier, in training and in evaluation."""
    policy: Annotated[SerializeAsAny[Plugin], registry.field("policies")]
    engine: Annotated[SerializeAsAny[Plugin], registry.field("engines")] = Field(
        default="native", validate_default=True
    )
    algorithm: Annotated[SerializeAsAny[Algorithm], registry.field("algorithms")] = Field(
        default="dr_grpo", validate_default=True
    )
    probes: tuple[Annotated[SerializeAsAny[Probe], registry.field("probes")], ...] = ()
    batch: BatchConfig = BatchConfig()
    sampling: SamplingConfig = SamplingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    warm_start: WarmStartConfig | None = None
    eval: EvalConfig = EvalConfig()
    stop: StopConfig = StopConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.max_steps is None and self.num_epochs is None:
            raise ValueError("say how long to train: max_steps or num_epochs")
        return self
