"""Evaluates a checkpoint of a run, with the run's own settings or with others, and keeps both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from whet import sandbox
from whet.config import Config, load_config
from whet.evals.evaluate import EvalPlan, EvalResult, plain_name, plan_of
from whet.evals.store import evaluate_into
from whet.interfaces import Engine, Task
from whet.runs.directory import RunDirectory
from whet.runs.files import encode_json
from whet.runs.policy import MODEL, load_policy, pick_device, set_threads

_DECIDING = ("split", "limit", "subset_frac", "num_samples", "temperature", "threshold", "greedy")
"""Settings of `eval` that change what comes out, beside the task."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is asked of the checkpoints of a run, and where the answers are kept."""

    run: RunDirectory
    config: Config
    """The run's, with the settings asked for."""
    plan: EvalPlan
    name: str
    """Directory in `evals/`: the task, and after an @ what differs from the run's own evaluation."""

    @classmethod
    def of(
        cls, run: RunDirectory, settings: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
    ) -> Evaluation:
        """settings: those of `eval` in the config, such as `num_samples`; overrides: the same as `eval.key=value`
        texts. Raises `ConfigError` for others.

        A task of the same name as the run's keeps the settings that it has there. Training questions may be asked
        when `split: train` says so.
        """
        own = load_config([run.config])
        base: dict[str, Any] = {"task": _task(own).model_dump(mode="json")}
        asked = {"eval": dict(settings or {})}
        if load_config([run.config, {"eval": base}, asked], overrides).eval.split == "train":
            base["allow_overlap"] = True
        config = load_config([run.config, {"eval": base}, asked], overrides)
        plan = plan_of(config, config.task.examples("train"))
        return cls(run, config, plan, _name(plan, own))

    def directory(self, checkpoint: Path) -> Path:
        """Where the evaluation of a checkpoint lies."""
        return self.run.evals / self.name / checkpoint.name

    def evaluate(self, checkpoint: Path, should_stop: Callable[[], bool] = lambda: False) -> EvalResult:
        """Records and metrics of a verified checkpoint."""
        set_threads(self.config.num_threads)
        sandbox.use(self.config.sandbox)
        policy = load_policy(checkpoint / MODEL, pick_device(self.config.device))
        engine = cast(Engine, cast(Any, self.config.engine).build(policy))
        return evaluate_into(self.directory(checkpoint), policy, engine, self.plan, should_stop)


def evaluate_checkpoint(run: RunDirectory, which: str, settings: Mapping[str, Any]) -> EvalResult:
    """Evaluates `latest`, `final`, `best` or a step; settings are those of `eval` in the config.

    With the run's own settings the result lies in evals/<task>/<checkpoint>, with others in a directory of their
    own, such as evals/<task>@num_samples=8/<checkpoint>. An evaluation that is already there is not sampled again.
    """
    return Evaluation.of(run, settings).evaluate(run.checkpoint(which))


def _task(config: Config) -> Task:
    return config.eval.task or config.task


def _name(plan: EvalPlan, own: Config) -> str:
    """The task, and what differs from the run's own evaluation: its readable settings, a hash of the task's."""
    differs = [f"task={digest}"] if (digest := _digest_of_other(plan, own)) else []
    for name in _DECIDING:
        value = getattr(plan.config, name)
        if value != getattr(own.eval, name):
            differs.append(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}")
    return plan.name + ("@" + ",".join(differs) if differs else "")


def _digest_of_other(plan: EvalPlan, own: Config) -> str:
    """Tells tasks of one name apart; empty for the run's own and for another one with nothing set."""
    task, other = plan.task, _task(own)
    settings = task.model_dump(mode="json", exclude_defaults=True)
    is_plain = settings.keys() <= {"name"} and plan.name != plain_name(other)
    is_own = settings == other.model_dump(mode="json", exclude_defaults=True)
    return "" if is_own or is_plain else hashlib.sha256(encode_json(settings)).hexdigest()[:8]
