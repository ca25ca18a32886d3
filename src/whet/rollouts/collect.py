"""From examples to scored groups: the one way in which training and evaluation sample and score."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import torch

from whet.config import SamplingConfig
from whet.errors import DataError, TrainingError, first_line
from whet.interfaces import Engine, Task
from whet.rollouts.episodes import play
from whet.rollouts.score import Scoring
from whet.text.prompts import PromptEncoder
from whet.types import Completion, Example, Request, Rollout, RolloutGroup, SamplingParams, Score

Item = tuple[Example, tuple[int, ...]]
"""An example and the keys of its samples."""


def collect(
    engine: Engine,
    encode: PromptEncoder,
    items: Sequence[Item],
    task: Task,
    params: SamplingParams,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[RolloutGroup]:
    """One scored group per item, in the order of the items. Completions are scored as they finish, episodes played.

    Raises `TrainingError` when the memory of a GPU runs out, `Interrupted` when told to stop.
    """
    sample = play if task.has_turns else _complete
    try:
        found = sample(engine, encode, items, task, params, should_stop)
    except torch.OutOfMemoryError as error:
        found, reason = None, first_line(error)
    if found is not None:
        return [
            RolloutGroup(example=example, rollouts=tuple(rollouts))
            for (example, _), rollouts in zip(items, found, strict=True)
        ]
    # Raised here, where the engine's tensors are free again and leave room to save the run.
    raise TrainingError(
        f"memory ran out while sampling ({reason}). Lower engine.max_rows (completions in flight) or set "
        "engine.cache_mb (their keys and values), or shorten sampling.max_completion_length "
        f"({params.max_completion_length}) or sampling.max_prompt_length; then begin again: what was finished is kept"
    )


def _complete(
    engine: Engine,
    encode: PromptEncoder,
    items: Sequence[Item],
    task: Task,
    params: SamplingParams,
    should_stop: Callable[[], bool],
) -> list[list[Rollout]]:
    """The rollouts of each item, one completion each."""
    requests = [Request(prompt_ids=encode(e), keys=keys) for e, keys in items]
    found: list[dict[int, tuple[Completion, Future[Score]]]] = [{} for _ in items]
    with Scoring(task, should_stop) as scoring:
        for completion in engine.generate(requests, params, should_stop):
            score = scoring.submit(items[completion.request][0], completion.text)
            found[completion.request][completion.sample] = completion, score
        return [
            [
                _rollout(example, request.prompt_ids, made, scoring.result(score))
                for made, score in (samples[i] for i in range(len(keys)))
            ]
            for (example, keys), request, samples in zip(items, requests, found, strict=True)
        ]


def check_prompts(
    examples: Sequence[Example], encode: PromptEncoder, sampling: SamplingConfig, context_length: int
) -> None:
    """Raises `DataError` naming the first prompt that is empty or too long: a prompt is never cut."""
    left = context_length - sampling.max_completion_length
    room = min(sampling.max_prompt_length, left)
    for example in examples:
        length = len(encode(example))
        if length == 0:
            raise DataError(f"the prompt of {example.id} is empty: the first token needs one before it")
        if length > room:
            way_out = "Raise sampling.max_prompt_length"
            if left < length:
                way_out = "Lower sampling.max_completion_length, take a policy with a longer context"
            raise DataError(
                f"the prompt of {example.id} has {length} tokens and {max(0, room)} are allowed: "
                f"sampling.max_prompt_length is {sampling.max_prompt_length}, and the context of {context_length} less "
                f"sampling.max_completion_length {sampling.max_completion_length} leaves {max(0, left)}. {way_out}, or "
                "leave the example out"
            )


def _rollout(example: Example, prompt_ids: tuple[int, ...], completion: Completion, score: Score) -> Rollout:
    start, length = len(prompt_ids), len(completion.token_ids)
    return Rollout(
        example=example,
        token_ids=prompt_ids + completion.token_ids,
        loss_mask=(False,) * start + (True,) * length,
        sampling_logprobs=(0.0,) * start + completion.logprobs,
        finish_reason=completion.finish_reason,
        policy_version=completion.policy_version,
        text=completion.text,
        score=score,
    )
