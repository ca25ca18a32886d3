"""What a person names, as a model that can be served."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from whet import registry
from whet.config import PromptConfig, SamplingConfig
from whet.errors import ConfigError, RunError
from whet.interfaces import Engine, Policy
from whet.models.fingerprint import weights_hash
from whet.registry import Plugin
from whet.runs import reader
from whet.runs.directory import resolve
from whet.runs.policy import has_adapter, pick_device
from whet.runs.trained import Trained
from whet.serving.served import Served
from whet.text.prompts import PromptEncoder

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    name: str
    policy: Policy
    engine: Plugin = field(default_factory=lambda: registry.build("engines", "native"))
    prompt: PromptConfig = field(default_factory=PromptConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    example: str = "Hello"


def load_served(
    spec: str, runs_root: Path | str, name: str | None = None, device: str = "auto", merge: bool = False
) -> Served:
    """The policy of a run or checkpoint, or a model of transformers by its directory or Hub name.

    name: under which clients ask for it; default: the run's. merge: fold its adapter into the weights.
    """
    found = _find(spec, runs_root, device)
    policy = _merged(found.policy) if merge else found.policy
    return Served(
        name=name or found.name,
        policy=policy,
        engine=cast(Engine, cast(Any, found.engine).build(policy)),
        encoder=PromptEncoder(policy.tokenizer, found.prompt),
        sampling=found.sampling,
        example=found.example,
        fingerprint=f"fp_{weights_hash(policy.module)[:10]}",
    )


def _find(spec: str, runs_root: Path | str, device: str) -> _Found:
    try:
        run, which = resolve(spec, runs_root)
    except RunError:
        if not _names_a_model(spec):
            raise
        return _Found(name=Path(spec).name, policy=_pretrained(spec, device))
    trained = Trained.load(run, which, device)
    asked = reader.last_rollouts(run, 1)
    return _Found(
        name=f"{run.name}:{which}" if which else run.name,
        policy=trained.policy,
        engine=trained.config.engine,
        prompt=trained.config.prompt,
        sampling=trained.config.sampling,
        example=asked[0]["prompt"] if asked else "Hello",
    )


def _merged(policy: Policy) -> Policy:
    """The same policy over a model whose adapter is folded in."""
    if not has_adapter(policy):
        raise ConfigError(
            "--merged folds an adapter into the weights, and this policy has none: leave it out"
        )
    one = copy.copy(policy)
    one.module = cast(Any, policy).merged()
    return one


def _pretrained(model: str, device: str) -> Policy:
    settings = registry.build("policies", {"name": "huggingface", "model": model})
    return cast(Policy, cast(Any, settings).build((), 0, pick_device(device)))


def _names_a_model(spec: str) -> bool:
    path = Path(spec)
    return (path / "config.json").is_file() or (not path.exists() and bool(_HUB_NAME.fullmatch(spec)))
