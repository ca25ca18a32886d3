"""The small stable doors: `train`, `open_run`, `task`, `verifier`, `show_prompt`, `load_policy`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import ValidationError

from whet import registry, yaml_source
from whet.config import Config, PromptConfig, load_config
from whet.config_problems import explain
from whet.errors import ConfigError, RunError
from whet.interfaces import Policy, Task, Verifier
from whet.registry import Settings
from whet.runs import reader
from whet.runs.directory import RunDirectory, resolve
from whet.types import Request, SamplingParams

if TYPE_CHECKING:
    from whet.evals.evaluate import EvalResult
    from whet.text.prompts import PromptEncoder

Prompt = str | Sequence[Mapping[str, str]]
"""A text, or a conversation: `role` and `content` each."""


def train(config: str | Path | Mapping[str, Any] | Config, *overrides: str, **settings: Any) -> Run:
    """Trains a new run to its end and returns it.

    config: the name of a shipped config, a YAML file, a mapping, or a `Config`. overrides: texts such as
    `"algorithm.epsilon=0.1"`. settings: top-level keys, such as `max_steps=50` or `batch={"num_generations": 16}`.
    Ctrl-C saves the run and raises `KeyboardInterrupt`; SIGTERM saves it and ends it (`run.state` is `stopped`).
    """
    from whet.training.launch import start

    source = config.model_dump(mode="json") if isinstance(config, Config) else config
    return _ended(start(load_config([source, settings], overrides)))


def open_run(run: str | Path, runs_root: str | Path | None = None) -> Run:
    """A run by path, name, unique beginning of a name, or `latest`."""
    return Run(_resolve(run, runs_root)[0])


def task(name: str, **settings: Any) -> Task:
    """A task by name: `examples(split)` and `score(example, text)`."""
    return cast(Task, _plugin("tasks", name, settings))


def verifier(name: str, **settings: Any) -> Verifier:
    """A verifier by name: `score(text, answer)` gives a `Score`."""
    return cast(Verifier, _plugin("verifiers", name, settings))


def show_prompt(
    task: Task, policy: str, runs_root: str | Path | None = None, **prompt: Any
) -> dict[str, Any]:
    """How a policy gets the first prompt of a task: text and token ids, and what ends an answer.

    policy: a run or checkpoint of one, the directory of a model, a name on the Hub, or `from_scratch`. prompt: settings
    of the config's `prompt` section, such as `system="Be brief."`, in place of those of the run.
    """
    from whet.runs.tokenizer import tokenizer_of
    from whet.text.prompts import PromptEncoder
    from whet.text.shown import shown_prompt

    train = task.examples("train")
    texts = [*(e.prompt + (e.demonstration or e.answer) for e in train), *task.observed_texts()]
    tokenizer, config = tokenizer_of(policy, texts, _root(runs_root))
    encode = PromptEncoder(tokenizer, _prompt_config(config, prompt))
    return shown_prompt(tokenizer, encode, (train or task.examples("test"))[0])


def load_policy(run: str | Path, device: str = "auto", runs_root: str | Path | None = None) -> LoadedPolicy:
    """The policy of a run, its latest good one, or of a checkpoint (`RUN:120`, `RUN:best`, `RUN:final`, a path)."""
    from whet.runs.policy import MODEL, pick_device
    from whet.runs.policy import load_policy as load

    directory, which = _resolve(run, runs_root)
    config = load_config([directory.config])
    policy = load(directory.checkpoint(which or "latest") / MODEL, pick_device(device))
    return LoadedPolicy(policy, cast(Any, config.engine).build(policy), config)


class Run:
    """A run on disk: what it was asked, how it went, and its policy."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory

    def __repr__(self) -> str:
        return f"Run({self.directory.name}, {self.state})"

    @property
    def path(self) -> Path:
        """The run's directory."""
        return self.directory.path

    @property
    def state(self) -> str:
        """running, finished, stopped, failed, or lost when its process died."""
        return reader.state(self.directory)

    @property
    def summary(self) -> dict[str, Any]:
        """How it ended, with the evaluations before and after."""
        return self.directory.summary()

    @property
    def config(self) -> Config:
        """The resolved config."""
        return load_config([self.directory.config])

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The logged metrics, one mapping a step."""
        return reader.metrics(self.directory)

    @cached_property
    def policy(self) -> LoadedPolicy:
        """The policy of the latest good checkpoint."""
        return load_policy(self.path)

    def evaluate(self, checkpoint: str = "latest", **settings: Any) -> EvalResult:
        """Evaluates a checkpoint; settings are those of `eval` in the config, such as `num_samples=8`."""
        from whet.evals.checkpoint import evaluate_checkpoint

        return evaluate_checkpoint(self.directory, checkpoint, settings)

    def resume(self, from_step: str = "latest", additional_steps: int | None = None) -> Run:
        """Takes the run up at a checkpoint and trains on."""
        from whet.training.launch import resume

        return _ended(resume(self.directory, from_step, additional_steps))

    def export(
        self,
        out: str | Path,
        checkpoint: str = "latest",
        kind: Literal["hf", "adapter"] = "hf",
        force: bool = False,
    ) -> Path:
        """Writes a checkpoint as transformers (hf) or peft (adapter) load it, with a model card; returns `out`."""
        from whet.release.export import export

        return export(self.directory, checkpoint, kind, Path(out), force)

    def plot(self) -> Path:
        """Draws the run; returns the picture's path."""
        from whet.evals.plots import plot_run

        return plot_run(self.directory)


@dataclass(frozen=True, slots=True)
class Generation:
    """One completion of `LoadedPolicy.generate`."""

    prompt: str
    """The text, or the last one of the conversation."""
    token_ids: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...]
    """Of the distribution sampled from, one per token."""
    finish_reason: str


class LoadedPolicy:
    """A policy ready to answer."""

    def __init__(self, policy: Policy, engine: Any, config: Config) -> None:
        self.policy = policy
        self._engine = engine
        self._config = config

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        num_samples: int = 1,
        seed: int = 0,
        raw: bool = False,
        **sampling: Any,
    ) -> list[list[Generation]]:
        """`num_samples` completions of each prompt, in order.

        prompts: one or several; each a text, or a conversation as a list of `{"role": ..., "content": ...}`. A text is
        written as the run wrote its prompts, so it may become the user's message of a conversation. raw: texts are the
        very text that the policy sees. sampling: fields of `SamplingParams`, such as temperature; what is not given is
        as in the run's training. The same seed gives the same completions.
        """
        from whet.seeding import key
        from whet.text.prompts import PromptEncoder

        if num_samples < 1:
            raise ConfigError(f"num_samples is {num_samples}; expected at least 1")
        encode, asked = PromptEncoder(self.policy.tokenizer, self._config.prompt), _listed(prompts)
        requests = [
            Request(
                prompt_ids=_ids(encode, prompt, raw),
                keys=tuple(key(seed, "generate", i, j) for j in range(num_samples)),
            )
            for i, prompt in enumerate(asked)
        ]
        found: list[dict[int, Generation]] = [{} for _ in asked]
        for c in self._engine.generate(requests, self._params(sampling)):
            text = _last_text(asked[c.request])
            found[c.request][c.sample] = Generation(text, c.token_ids, c.text, c.logprobs, c.finish_reason)
        return [[samples[i] for i in range(num_samples)] for samples in found]

    def _params(self, sampling: Mapping[str, Any]) -> SamplingParams:
        defaults = self._config.sampling
        known = set(SamplingParams.__slots__)
        if unknown := sorted(set(sampling) - known):
            raise ConfigError(
                f"{', '.join(unknown)}: no sampling setting; there are {', '.join(sorted(known))}"
            )
        params = {
            "max_completion_length": defaults.max_completion_length,
            "temperature": defaults.temperature,
            "stop": defaults.stop,
        }
        return SamplingParams(**{**params, **sampling})


def _listed(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    is_one = isinstance(prompts, str) or (len(prompts) > 0 and isinstance(prompts[0], Mapping))
    return cast(list[Prompt], [prompts] if is_one else list(prompts))


def _ids(encode: PromptEncoder, prompt: Prompt, raw: bool) -> tuple[int, ...]:
    if isinstance(prompt, str):
        return encode.plain(prompt) if raw else encode.question(prompt)
    if raw:
        raise ConfigError("raw prompts are texts, and this one is a conversation: leave raw out")
    return encode.chat(prompt)


def _last_text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


def _ended(directory: RunDirectory) -> Run:
    """The run; after Ctrl-C `KeyboardInterrupt`, so that a loop over seeds ends too."""
    if directory.summary().get("why") == "SIGINT":
        raise KeyboardInterrupt(
            f"{directory.path} is saved; whet.open_run({str(directory.path)!r}).resume() goes on"
        )
    return Run(directory)


def _resolve(run: str | Path, runs_root: str | Path | None) -> tuple[RunDirectory, str | None]:
    return resolve(str(run), _root(runs_root))


def _root(runs_root: str | Path | None) -> str | Path:
    return runs_root if runs_root is not None else os.environ.get("WHET_RUNS", "runs")


class _Prompts(Settings):
    """The one section of a config that `show_prompt` takes, so that its problems are told as a config's."""

    prompt: PromptConfig


def _prompt_config(base: PromptConfig, changes: Mapping[str, Any]) -> PromptConfig:
    try:
        return _Prompts.model_validate({"prompt": {**base.model_dump(), **changes}}).prompt
    except ValidationError as error:
        layer = yaml_source.from_mapping({"prompt": changes})
        raise ConfigError("\n".join(explain(error.errors(), _Prompts, layer))) from error  # type: ignore[arg-type]


def _plugin(kind: str, name: str, settings: Mapping[str, Any]) -> Any:
    try:
        return registry.build(kind, {"name": name, **settings})
    except registry.PluginProblems as problems:
        lines = explain(problems.errors, problems.model, yaml_source.from_mapping(settings))
        raise ConfigError("\n".join(f"{name}: {line}" for line in lines)) from problems


__all__ = [
    "Generation",
    "LoadedPolicy",
    "Run",
    "RunError",
    "load_policy",
    "open_run",
    "show_prompt",
    "task",
    "train",
    "verifier",
]
