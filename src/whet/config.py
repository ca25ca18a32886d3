"""One validated config for a run: defaults here < YAML files, left to right < `key.sub=value`."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, ValidationError, field_validator, model_validator

from whet import registry, shipped, yaml_source
from whet.config_problems import explain
from whet.errors import ConfigError, SettingWarning
from whet.interfaces import Algorithm, Probe, Task
from whet.registry import Plugin, Settings
from whet.types import SamplingParams

MOST_TOKENS = 16384
"""Beyond it a CPU gains nothing from larger micro-batches."""


class BatchConfig(Settings):
    """How much is sampled per step. Completions per step = prompts_per_step x num_generations."""

    prompts_per_step: int = Field(default=32, ge=1)
    num_generations: int = Field(default=8, ge=1)
    """Completions per prompt (the group)."""
    max_generation_rounds: int = Field(default=10, ge=1)
    """Rounds of sampling in which a step replaces refused groups (dynamic sampling); then it goes on with fewer."""
    microbatch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = 16384
    """Tokens per forward pass (a prompt counts once per group): a memory limit that changes nothing beyond rounding.
    auto: as many as fit, found once at the start and written into the run. When the memory of a GPU runs out in an
    update, the rest of the run has half as many, or fewer."""

    @property
    def token_limit(self) -> int:
        """`microbatch_tokens`; where that is auto, the most that it may become on a CPU."""
        return MOST_TOKENS if self.microbatch_tokens == "auto" else self.microbatch_tokens


class SamplingConfig(Settings):
    """How rollouts are drawn: from the full tempered distribution."""

    max_prompt_length: int = Field(default=512, ge=1)
    """Tokens; a longer prompt is an error, never cut."""
    max_completion_length: int = Field(default=256, ge=1)
    temperature: float = Field(default=1.0, gt=0.0)
    stop: tuple[str, ...] = ()
    """A completion ends once its text holds one of these."""
    timeout_s: float | None = Field(default=None, gt=0.0)
    """Seconds from its first token after which a completion ends where it is, truncated, in evaluations too. What a
    clock decides is not repeated bit for bit."""

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError(
                "expected texts of one character or more: an empty one would end every completion"
            )
        return value

    def params(self) -> SamplingParams:
        """For the engine."""
        return SamplingParams(
            max_completion_length=self.max_completion_length,
            temperature=self.temperature,
            stop=self.stop,
            timeout_s=self.timeout_s,
        )


class PromptConfig(Settings):
    """How a prompt becomes tokens. `whet tasks NAME --policy P` shows the tokens of one."""

    chat: Literal["auto", True, False] = "auto"
    """Write prompts as a conversation. auto: where the tokenizer has a chat template."""
    system: str | None = None
    """Message that opens every conversation whose data brings none of its own."""
    template: str | None = None
    """Chat template in place of the tokenizer's: Jinja, or the path of a file that ends in .jinja (read at once)."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Variables of the chat template, such as `{enable_thinking: false}`."""

    @field_validator("template")
    @classmethod
    def _jinja(cls, value: str | None) -> str | None:
        """The text itself, so that a run's config depends on no other file."""
        if value is not None and value.endswith(".jinja") and "{" not in value:
            try:
                value = Path(value).expanduser().read_text(encoding="utf-8")
            except OSError as error:
                raise ValueError(
                    f"{value} cannot be read: {error.strerror} (looked in {Path.cwd()})"
                ) from error
        if value is not None and "{" not in value:
            raise ValueError(f"expected Jinja, or the path of a file that ends in .jinja, found {value!r}")
        return value


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

    @field_validator("betas")
    @classmethod
    def _decays(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError(f"expected two numbers >= 0 and < 1, found {list(value)}")
        return value


class WarmStartConfig(Settings):
    """Supervised steps on demonstrations before step 1: RL sharpens what is latent."""

    steps: int = Field(ge=1)
    """At most this many."""
    target_nll: float | None = Field(default=None, gt=0.0)
    """Ends the stage once the mean loss of ten steps is this low; seeds differ in when that is."""
    batch_size: int = Field(default=64, ge=1)
    """Demonstrations per step."""
    microbatch_tokens: int = Field(default=16384, ge=1)
    """Tokens per forward pass (a prompt counts once per group)."""
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3)


class EvalConfig(Settings):
    """What is measured on held-out problems, and when."""

    task: Annotated[SerializeAsAny[Task] | None, registry.field("tasks")] = None
    """Default: the training task."""
    split: Literal["train", "test"] = "test"
    limit: int | None = Field(default=None, ge=1)
    """The first problems only."""
    subset_frac: float = Field(default=1.0, gt=0.0, le=1.0)
    """Share of the problems, chosen by hash and at least one; a smaller share is part of a larger one."""
    num_samples: int = Field(default=1, ge=1)
    """Completions per problem for the sampled metrics; 0 < k <= num_samples in pass@k."""
    temperature: float = Field(default=1.0, gt=0.0)
    threshold: float = 1.0
    """A completion with at least this value is right, in pass@k and greedy accuracy."""
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


class SandboxConfig(Settings):
    """How programs that a model wrote are run. It matters to tasks and verifiers that run them, and to no other."""

    isolation: Literal["landlock", "bubblewrap"] = "landlock"
    """landlock: Landlock, seccomp and limits of the kernel; nothing to install. bubblewrap: namespaces around that, for
    which the system package bubblewrap has to be there."""
    unsafe: bool = False
    """Run them without protection of files, network and processes, where the platform has none. Time and memory are
    limited as far as the platform can."""


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
    trackers: tuple[str, ...] = ("console", "jsonl", "tensorboard")
    device: str = "auto"
    num_threads: int | None = Field(default=None, ge=1, le=256)
    """CPU threads of torch. Default on a CPU: by the size of the policy and the cores of the machine (the rule is in
    docs/performance.md), written into the run, so that whoever resumes or evaluates it has as many."""
    stage: Literal["rl", "sft"] = "rl"
    """sft imitates the demonstrations of the task and samples nothing in training; `whet sft` is short for it."""
    task: Annotated[SerializeAsAny[Task], registry.field("tasks")]
    """What is trained on; a top-level `verifier:` is short for `task.verifier`."""
    policy: Annotated[SerializeAsAny[Plugin] | None, registry.field("policies")] = None
    """The model that is trained; or `init_from` says where to find it."""
    init_from: str | None = None
    """Start from the policy of a run (RUN, RUN:120, RUN:best) or of a checkpoint's folder. Of `policy` only how a
    pretrained one is run is then taken: precision, quantization, activation_checkpointing, context_length."""
    prompt: PromptConfig = PromptConfig()
    engine: Annotated[SerializeAsAny[Plugin], registry.field("engines", "native")] = Field(
        default="native", validate_default=True
    )
    algorithm: Annotated[SerializeAsAny[Algorithm], registry.field("algorithms", "dr_grpo")] = Field(
        default="dr_grpo", validate_default=True
    )
    probes: tuple[Annotated[SerializeAsAny[Probe], registry.field("probes")], ...] = ()
    batch: BatchConfig = BatchConfig()
    sampling: SamplingConfig = SamplingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    warm_start: WarmStartConfig | None = None
    eval: EvalConfig = EvalConfig()
    stop: StopConfig = StopConfig()
    sandbox: SandboxConfig = SandboxConfig()

    @model_validator(mode="before")
    @classmethod
    def _verifier_is_the_tasks(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "verifier" not in values:
            return values
        others, verifier, task = dict(values), values["verifier"], values.get("task")
        del others["verifier"]
        if verifier is None or task is None:
            return others
        if isinstance(task, Task):
            task = task.model_dump()
        section = {"name": task} if isinstance(task, str) else dict(task)
        if section.get("verifier") is not None:
            raise ConfigError("verifier is short for task.verifier and both are given; keep task.verifier")
        return {**others, "task": {**section, "verifier": verifier}}

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        problems = list(_contradictions(self))
        if problems:
            raise ConfigError("\n".join(problems))
        for text in _without_effect(self):
            warnings.warn(text, SettingWarning, stacklevel=1)
        return self


def load_config(sources: Sequence[str | Path | Mapping[str, Any]], overrides: Sequence[str] = ()) -> Config:
    """The config that files, shipped names and mappings give, left to right, and then `key.sub=value` texts.

    A plug-in section whose `name` changes is replaced as a whole. Paths inside a config are relative to the working
    directory. Raises `ConfigError` with every problem on a line of its own.
    """
    layer, problems = yaml_source.Layer({}), []
    for read in [*(lambda s=s: _layer(s) for s in sources), lambda: yaml_source.from_overrides(overrides)]:
        try:
            layer = yaml_source.merge(layer, read())
        except ConfigError as error:
            problems.append(str(error))
    if missing := _only_overlays(sources, layer.values):
        problems.append(missing)
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        return Config.model_validate(layer.values)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error.errors(), Config, layer))) from error  # type: ignore[arg-type]


def dump_config(config: Config) -> str:
    """YAML of every setting, defaults included; `load_config` makes an equal config of it."""
    return yaml_source.to_text(config.model_dump(mode="json"))


def _layer(source: str | Path | Mapping[str, Any]) -> yaml_source.Layer:
    if isinstance(source, Mapping):
        return yaml_source.from_mapping(source)
    path = Path(source)
    if path.is_file():
        return yaml_source.from_file(path, str(path))
    if (name := shipped.name_of(path)) is not None:
        return yaml_source.from_file(shipped.path_of(name), f"configs/{name}.yaml")
    known = shipped.names()
    close = difflib.get_close_matches(path.with_suffix("").as_posix().removeprefix("configs/"), known, 1)
    hint = f" Did you mean {close[0]}?" if close else ""
    if path.name in registry.names("tasks"):
        hint = f" It is a task: say it in a config, task: {{name: {path.name}}}, as whet init writes one."
    raise ConfigError(
        f"there is no file {str(path)!r} in {Path.cwd()}, nor a config of that name.{hint} "
        f"Shipped: {', '.join(known) or 'none'}"
    )


def _only_overlays(sources: Sequence[str | Path | Mapping[str, Any]], values: Mapping[str, Any]) -> str:
    """What to do about configs that change others and have no task to change; empty where there is one."""
    names = [
        n
        for s in sources
        if not isinstance(s, Mapping) and not Path(s).is_file()
        if (n := shipped.name_of(s))
    ]
    if "task" in values or not any(map(shipped.is_overlay, names)):
        return ""
    overlays = " ".join(names)
    return (
        f"{overlays} changes settings of another config and has no task of its own: "
        f"put it after one, such as `arithmetic {overlays}`"
    )


def _contradictions(config: Config) -> Iterator[str]:
    """Settings that cannot hold together, each with its fix."""
    algorithm, batch = config.algorithm, config.batch
    if config.policy is None and config.init_from is None:
        known = ", ".join(registry.names("policies"))
        yield f"policy is missing: expected one of {known}, or init_from with a run to start from"
    if config.stage == "sft" and config.warm_start is not None:
        yield "warm_start has no place in stage sft: the run itself imitates; remove it (warm_start=null)"
    if config.max_steps is None and config.num_epochs is None:
        yield "max_steps and num_epochs are both missing: say how long to train, for instance max_steps: 100"
    if algorithm.num_minibatches > batch.prompts_per_step:
        yield (
            f"algorithm.num_minibatches is {algorithm.num_minibatches}, but a step has {batch.prompts_per_step} groups "
            "(batch.prompts_per_step) and a minibatch holds whole groups: lower the one or raise the other"
        )
    if batch.num_generations < algorithm.min_group_size:
        yield (
            f"batch.num_generations is {batch.num_generations}, but the baseline of {algorithm.name} compares the "
            f"completions of a group and needs at least {algorithm.min_group_size}: raise it, or choose an algorithm "
            "without a group baseline, such as reinforce"
        )
    if config.prompt.system is not None and config.prompt.chat is False:
        yield "prompt.system needs a conversation and prompt.chat is false: remove the one or the other"
    # Imitation needs no verifier: without one a supervised stage is measured by its demonstrations alone.
    for task in filter(None, (config.task, config.eval.task) if config.stage == "rl" else ()):
        try:
            task.verifier or task.default_verifier()
        except ConfigError as error:
            yield str(error)
    known = registry.function("whet.tracking.open:names")()
    for name in config.trackers:
        if name not in known and ":" not in name:
            yield f"trackers: there is no {name!r}; there are: {', '.join(known)}"


def _without_effect(config: Config) -> Iterator[str]:
    """Settings that were changed and do nothing."""
    algorithm, optimizer, steps = config.algorithm, config.optimizer, config.max_steps
    changed = {
        n for n, field in type(algorithm).model_fields.items() if getattr(algorithm, n) != field.default
    }
    for name in ("kl_estimator", "kl_in"):
        if name in changed and algorithm.beta == 0:
            yield f"algorithm.{name} has no effect while algorithm.beta is 0"
    if "kl_estimator" in changed and algorithm.beta > 0 and algorithm.kl_in == "reward":
        yield "algorithm.kl_estimator has no effect while algorithm.kl_in is reward: there the estimator is k1"
    if (config.stop.when or "").lstrip().startswith("eval/") and config.eval_every == 0:
        yield f"stop.when: {config.stop.when} has no effect while eval_every is 0: it is looked at after each step"
    for name in ("template", "chat_template_kwargs"):
        if config.prompt.chat is False and getattr(config.prompt, name):
            yield f"prompt.{name} has no effect while prompt.chat is false"
    if steps is not None and optimizer.warmup_steps >= steps:
        yield f"optimizer.learning_rate is never reached: warmup_steps {optimizer.warmup_steps} >= max_steps {steps}"
    if optimizer.schedule == "constant" and optimizer.schedule_steps is not None:
        yield "optimizer.schedule_steps has no effect while optimizer.schedule is constant"
