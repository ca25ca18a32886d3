"""What a run will do and take, by arithmetic on its config and the sizes of its policy and data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from whet.config import Config, PromptConfig
from whet.engines.huggingface import HuggingFace
from whet.engines.native import Native
from whet.engines.vllm import Vllm
from whet.evals.evaluate import CHUNK
from whet.functional.logprobs import MAX_LOGITS
from whet.interfaces import Policy
from whet.models.kv_cache import Shape
from whet.models.packed_linear import MOST_BYTES
from whet.text.prompts import PromptEncoder
from whet.training.footprint import MASTER_BYTES, Footprint, footprint
from whet.training.job import Data, Horizon

LOGITS_COPIES = 4
"""Logits, their softmax, its product with them for the entropy, and the gradient: of a head that is no matrix."""
LOGIT_BYTES = 4
"""Logits are float32, whatever the weights are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What a forecast must know beside the config."""

    num_train: int
    num_test: int
    longest_prompt: int
    """Tokens, over both splits."""
    vocab_size: int
    policy: Footprint
    packs: bool
    """Whether the policy reads a prompt once a group, and no padding."""
    on_gpu: bool = False
    """Where the run will be: the native engine rounds its sizes up there."""


def sizes_of(policy: Policy, data: Data, prompt: PromptConfig, device: torch.device) -> Sizes:
    """The sizes of a policy that was built, and of the data. device: that of the run."""
    encode = PromptEncoder(policy.tokenizer, prompt)
    examples = (*data.train, *data.plan.examples)
    return Sizes(
        num_train=len(data.train),
        num_test=len(data.plan.examples),
        longest_prompt=max(len(encode(e)) for e in examples),
        vocab_size=policy.tokenizer.vocab_size,
        policy=footprint(policy.module),
        packs=policy.packs,
        on_gpu=device.type == "cuda",
    )


def forecast(config: Config, sizes: Sizes) -> dict[str, Any]:
    """What a run will do and take, by `step`, `run`, `memory_bytes` and `disk_bytes`; lengths are the longest possible.

    Micro-batches per update are the accumulation: their gradients add up to that of the update.
    """
    return {
        "step": _step(config, sizes),
        "run": _run(config, sizes),
        "policy": {
            "parameters": sizes.policy.parameters,
            "trained_parameters": sizes.policy.trained,
            "vocab_size": sizes.vocab_size,
        },
        "memory_bytes": _with_total(_memory(config, sizes)),
        "disk_bytes": _disk(config, sizes),
    }


def _step(config: Config, sizes: Sizes) -> dict[str, int]:
    batch, algorithm, limit = config.batch, config.algorithm, config.sampling.max_completion_length
    generations = _generations(config)
    completions = batch.prompts_per_step * generations
    return {
        "prompts": batch.prompts_per_step,
        "generations": generations,
        "completions": completions,
        "updates": algorithm.num_updates,
        "completions_per_update": _prompts(config) * generations,
        "microbatches_per_update": _microbatch(config, sizes).per_update,
        "max_sampled_tokens": completions * limit,
        "max_tokens": completions * (sizes.longest_prompt + limit),
    }


def _run(config: Config, sizes: Sizes) -> dict[str, Any]:
    steps = Horizon.of(config, sizes.num_train).max_steps
    return {
        "train_examples": sizes.num_train,
        "test_examples": sizes.num_test,
        "warm_start_steps": config.warm_start.steps if config.warm_start else 0,
        "steps": steps,
        "updates": steps * config.algorithm.num_updates,
        "epochs": steps * config.batch.prompts_per_step / sizes.num_train,
        "evaluations": _evaluations(config, steps),
    }


def _evaluations(config: Config, steps: int) -> int:
    during = steps // config.eval_every if config.eval_every else 0
    return during + config.eval.at_start + config.eval.at_end


def _memory(config: Config, sizes: Sizes) -> dict[str, int]:
    """The trainer's and the engine's: both read one copy of the weights, where the engine needs none of its own."""
    return {
        "weights": sizes.policy.weight_bytes + _copies(config, sizes),
        "gradients": sizes.policy.trained * MASTER_BYTES,
        "optimizer": sizes.policy.optimizer_bytes,
        "reference": sizes.policy.trained_bytes if config.algorithm.needs_reference else 0,
        "kv_cache": _kv_cache(config, sizes),
        "activations": _activations(config, sizes),
    }


def _copies(config: Config, sizes: Sizes) -> int:
    """Of the weights, in the engine: vLLM's, one with adapters merged, and one in the order of the code in C."""
    engine, policy = config.engine, sizes.policy
    if isinstance(engine, Vllm):
        return policy.weight_bytes
    if not isinstance(engine, Native) or not policy.is_known:
        return 0
    packed = min(policy.weight_bytes, MOST_BYTES) if policy.is_packed and not sizes.on_gpu else 0
    return packed + policy.weight_bytes * engine.merged


def _kv_cache(config: Config, sizes: Sizes) -> int:
    """Of what is in flight at once, at full length; 0 for a model or an engine that does not tell."""
    engine, policy = config.engine, sizes.policy
    if isinstance(engine, Vllm):
        return engine.kv_cache_bytes
    if isinstance(engine, Native) and not policy.is_known:
        engine = HuggingFace(max_rows=min(engine.max_rows, HuggingFace().max_rows))
    token_bytes = 2 * policy.num_layers * policy.kv_width * policy.number_bytes
    if not isinstance(engine, Native | HuggingFace) or not token_bytes:
        return 0
    tokens = (engine.cache_tokens(asked, token_bytes, sizes.on_gpu) for asked in _asked(config, sizes))
    return token_bytes * max(tokens)


def _asked(config: Config, sizes: Sizes) -> Iterator[Shape]:
    """What is asked of the engine in one call: by a step, and by a chunk of an evaluation."""
    lengths = sizes.longest_prompt, config.sampling.max_completion_length
    calls = [(min(CHUNK, sizes.num_test), config.eval.num_samples)]
    if config.stage == "rl":
        calls.append((config.batch.prompts_per_step, config.batch.num_generations))
    for prompts, samples in calls:
        yield Shape(prompts * samples, prompts, samples, *lengths)
        if config.task.has_turns:  # later turns are prompts of their own, the answers before them included
            yield Shape(prompts * samples, prompts * samples, 1, sum(lengths), lengths[1])


def _activations(config: Config, sizes: Sizes) -> int:
    """What one micro-batch keeps for its backward pass; a rough figure, see the constants above."""
    largest = _microbatch(config, sizes)
    hidden = largest.tokens * sizes.policy.saved_per_token * sizes.policy.number_bytes
    trained = largest.rows * config.sampling.max_completion_length
    logits = min(trained * sizes.vocab_size, MAX_LOGITS) * LOGITS_COPIES * LOGIT_BYTES
    return int(hidden) + logits


@dataclass(frozen=True, slots=True)
class _Microbatch:
    """The largest micro-batch of an update, and how many there are at most."""

    rows: int
    tokens: int
    """What the policy reads, as `rollouts.batch.microbatches` counts it."""
    per_update: int


def _microbatch(config: Config, sizes: Sizes) -> _Microbatch:
    """With every prompt and completion as long as can be."""
    prompt, completion = sizes.longest_prompt, config.sampling.max_completion_length
    limit, generations, prompts = config.batch.token_limit, _generations(config), _prompts(config)
    if not sizes.packs:
        length, completions = prompt + completion, prompts * generations
        rows = min(max(1, limit // length), completions)
        return _Microbatch(rows, rows * length, math.ceil(completions / rows))
    own = completion - 1  # the last token is not read
    group = prompt + generations * own
    if group <= limit:
        groups = min(limit // group, prompts)
        return _Microbatch(groups * generations, groups * group, math.ceil(prompts / groups))
    rows = max(1, (limit - prompt) // max(own, 1))
    return _Microbatch(rows, prompt + rows * own, prompts * math.ceil(generations / rows))


def _prompts(config: Config) -> int:
    """Of the largest update."""
    return math.ceil(config.batch.prompts_per_step / config.algorithm.num_minibatches)


def _disk(config: Config, sizes: Sizes) -> dict[str, int]:
    """A checkpoint holds what is trained, two moments and masters.

    Kept are step 0, every `save_every` and the last step.
    With `keep_checkpoints` these are the newest ones, the best and the last.
    """
    steps = Horizon.of(config, sizes.num_train).max_steps
    kept = 1 + (math.ceil(steps / config.save_every) if config.save_every else 1)
    if config.keep_checkpoints is not None:
        kept = min(kept, config.keep_checkpoints + 2)
    checkpoint = sizes.policy.trained_bytes + sizes.policy.optimizer_bytes
    reference = sizes.policy.trained_bytes if config.algorithm.needs_reference else 0
    return {"checkpoint": checkpoint, "checkpoints_kept": kept, "total": checkpoint * kept + reference}


def _generations(config: Config) -> int:
    """Completions per prompt; a demonstration is one."""
    return 1 if config.stage == "sft" else config.batch.num_generations


def _with_total(parts: dict[str, int]) -> dict[str, int]:
    return {**parts, "total": sum(parts.values())}
