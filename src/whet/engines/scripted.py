"""An engine that says what it is told: for tests of everything around sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from pydantic import Field

from whet.engines._wishes import OnToken, limit_of
from whet.errors import DataError, Interrupted
from whet.interfaces import Policy, Tokenizer
from whet.registry import Plugin
from whet.types import Completion, Request, SamplingParams


class Scripted(Plugin):
    """Completions by prompt: sample i of a prompt gets text i of its list, in a cycle."""

    name: str = "scripted"
    completions: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    default: tuple[str, ...] = ("",)
    """For prompts that are not listed."""

    def build(self, policy: Policy) -> ScriptedEngine:
        """An engine that uses the policy's tokenizer only."""
        return ScriptedEngine(self, policy)


class ScriptedEngine:
    """Plays the script. Every token's log-probability is 0, as if it had been certain."""

    def __init__(self, script: Scripted, policy: Policy) -> None:
        self._script = script
        self._policy = policy
        self._tokenizer: Tokenizer = policy.tokenizer

    def generate(
        self,
        requests: Iterable[Request],
        params: SamplingParams,
        should_stop: Callable[[], bool] = lambda: False,
        on_token: OnToken | None = None,
    ) -> Iterator[Completion]:
        """Completions in the order of the requests, cut at `max_completion_length`."""
        for number, request in enumerate(requests):
            texts = self._script.completions.get(
                self._tokenizer.decode(request.prompt_ids), self._script.default
            )
            if not texts:
                raise DataError("a scripted prompt needs at least one completion")
            for i in range(len(request.keys)):
                if should_stop():
                    raise Interrupted
                limit = limit_of(request, params)
                completion = self._completion(number, i, texts[i % len(texts)], limit)
                _tell(on_token, completion)
                yield completion

    def _completion(self, request: int, sample: int, text: str, limit: int) -> Completion:
        ids = (*self._tokenizer.encode(text), self._tokenizer.eos_id)
        cut = ids[:limit]
        return Completion(
            request=request,
            sample=sample,
            token_ids=cut,
            logprobs=(0.0,) * len(cut),
            finish_reason="stop" if len(cut) == len(ids) else "length",
            policy_version=self._policy.version,
            text=self._tokenizer.decode(cut),
        )


def _tell(on_token: OnToken | None, completion: Completion) -> None:
    if on_token is not None:
        for token in completion.token_ids:
            on_token(completion.request, completion.sample, token)
