"""The tokenizer that a person names: that of a run, of a pretrained model, or a new one made from a task's texts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch

from whet import registry
from whet.config import PromptConfig, load_config
from whet.errors import RunError
from whet.interfaces import Tokenizer
from whet.policies.huggingface import HuggingFace
from whet.runs.directory import resolve
from whet.runs.policy import MODEL, load_policy


def tokenizer_of(policy: str, texts: Iterable[str], runs_root: Path | str) -> tuple[Tokenizer, PromptConfig]:
    """A policy's tokenizer and its prompt settings: a run's own, or the defaults.

    policy: RUN, RUN:120, the directory of a model, a name on the Hub, or `from_scratch`, whose tokenizer is made from
    the texts. Weights are loaded only where nothing else holds the tokenizer. Raises `RunError` or `ConfigError` when
    there is no such policy.
    """
    if policy == "from_scratch":
        kind = cast(Any, registry.build("policies", policy))
        return kind.build(texts, 0, torch.device("cpu")).tokenizer, PromptConfig()
    try:
        run, which = resolve(policy, runs_root)
    except RunError as error:
        if "/" not in policy and not Path(policy).is_dir():
            raise RunError(
                f"{error}. A policy is a run, the directory of a model, a name on the Hub with its owner, such as "
                "Qwen/Qwen2.5-0.5B-Instruct, or from_scratch"
            ) from error
        return _in(policy), PromptConfig()
    return _in(str(run.checkpoint(which or "latest") / MODEL)), load_config([run.config]).prompt


def _in(model: str) -> Tokenizer:
    """That of a saved policy, or of a model by path or name."""
    names = {path.name for path in Path(model).glob("*.json")}
    if "policy.json" in names and "tokenizer_config.json" not in names:
        return load_policy(Path(model), torch.device("cpu")).tokenizer
    return HuggingFace(model=model).tokenizer()
