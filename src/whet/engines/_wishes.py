"""What the engines share: requests taken apart into single completions, rows that end, completions put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from whet.errors import DataError
from whet.interfaces import Policy
from whet.text.stopping import Ending
from whet.types import Completion, FinishReason, Request, SamplingParams

OnToken = Callable[[int, int, int], None]
"""Sees request, sample and token id of every token."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One completion to be made."""

    request: int
    sample: int
    key: int
    prompt_ids: tuple[int, ...]
    limit: int
    """Tokens at most."""


def wishes_of(requests: Iterable[Request], policy: Policy, params: SamplingParams) -> Iterator[Wish]:
    """Every completion that is asked for; requests are read one by one.

    Raises `DataError` for a prompt that is empty or leaves no room for the longest completion.
    """
    for number, request in enumerate(requests):
        length, limit = len(request.prompt_ids), limit_of(request, params)
        room = policy.context_length - limit
        if length == 0:
            raise DataError(f"prompt {number} is empty: the first token needs one before it; write a text")
        if length > room:
            raise DataError(
                f"prompt {number} has {length} tokens; with completions of up to {limit} the "
                f"context of {policy.context_length} leaves {room}: shorten it, or lower max_completion_length"
            )
        for i, key in enumerate(request.keys):
            yield Wish(number, i, key, request.prompt_ids, limit)


def limit_of(request: Request, params: SamplingParams) -> int:
    """The most tokens that a completion of this request may have."""
    return min(request.max_completion_length or params.max_completion_length, params.max_completion_length)


def completion(
    wish: Wish, token_ids: Sequence[int], logprobs: Sequence[float], ending: Ending, version: int
) -> Completion:
    """The completion that fulfils a wish; `version` is that of the policy."""
    cut: FinishReason = "length" if len(token_ids) == wish.limit else "timeout"
    return Completion(
        request=wish.request,
        sample=wish.sample,
        token_ids=tuple(token_ids),
        logprobs=tuple(logprobs),
        finish_reason="stop" if ending.reached(token_ids) else cut,
        policy_version=version,
        text=ending.text(token_ids),
    )
