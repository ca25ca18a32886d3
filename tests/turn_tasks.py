"""Episodes of a fraction of a millisecond, over the letters of the tiny policies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

import tiny
from whet.config import PromptConfig
from whet.engines.native import Native
from whet.interfaces import Engine, Split
from whet.policies.from_scratch import FromScratchPolicy
from whet.rollouts.collect import collect
from whet.seeding import choice, key
from whet.text.prompts import PromptEncoder
from whet.turns import TurnTask
from whet.types import Completion, Example, Request, RolloutGroup, SamplingParams, Turn

CPU = torch.device("cpu")


class Letters(TurnTask):
    """Earns 1/4 for every answer that holds a letter which the seed decides; `=a` means yes, `=b` no."""

    max_turns: int = 3

    def load(self, split: Split) -> Sequence[Example]:
        """Four prompts to train on, one to test on."""
        return [tiny.example(p, "") for p in (("ab=", "c=", "bca=", "aa=") if split == "train" else ("b=",))]

    def start(self, example: Example, seed: int) -> "Play":
        """The letter is drawn."""
        return Play(choice(key(seed, example.id), "abc"))

    def observed_texts(self) -> Sequence[str]:
        """All that is said."""
        return ("=ab",)


@dataclass
class Play:
    """One game of `Letters`."""

    letter: str
    heard: list[str] = field(default_factory=list)

    def step(self, text: str) -> Turn:
        """Yes or no."""
        self.heard.append(text)
        is_right = self.letter in text
        return Turn(observation="=a" if is_right else "=b", reward=0.25 * is_right)


class Says:
    """An engine that says texts in turn, end-of-text behind each; a text that ends in `~` is cut there instead."""

    def __init__(self, policy: FromScratchPolicy, say: Callable[[str], str]) -> None:
        """say: the next text, given all that was written before."""
        self._policy, self._say = policy, say
        self.asked: list[list[Request]] = []
        """The requests of each call."""

    def generate(self, requests, params, should_stop=lambda: False, on_token=None):
        """Completions in reverse order, so that nobody relies on another one."""
        self.asked.append(list(requests))
        for number, request in reversed(list(enumerate(self.asked[-1]))):
            for sample in range(len(request.keys)):
                yield self._completion(
                    number, sample, self._say(self._policy.tokenizer.spell(request.prompt_ids))
                )

    def _completion(self, request: int, sample: int, text: str) -> Completion:
        words, is_cut = text.removesuffix("~"), text.endswith("~")
        ids = (*self._policy.tokenizer.encode(words), *(() if is_cut else (0,)))
        return Completion(
            request=request,
            sample=sample,
            token_ids=ids,
            logprobs=(-0.5,) * len(ids),
            finish_reason="length" if is_cut else "stop",
            policy_version=len(self.asked),
            text=words,
        )


def letters(**settings: object) -> Letters:
    """The task."""
    return Letters(name="turn_tasks:Letters", **settings)


def encoder(policy: FromScratchPolicy) -> PromptEncoder:
    """Plain text."""
    return PromptEncoder(policy.tokenizer, PromptConfig())


def played(
    policy: FromScratchPolicy,
    task: TurnTask | None = None,
    engine: Engine | None = None,
    samples: Sequence[int] = (4, 3, 2, 1),
    max_completion_length: int = 16,
) -> list[RolloutGroup]:
    """Groups of those sizes, of the native engine unless another is given."""
    task = task or letters()
    items = [
        (example, tuple(key(1, "turns", g, i) for i in range(count)))
        for g, (example, count) in enumerate(zip(task.examples("train"), samples, strict=False))
    ]
    params = SamplingParams(max_completion_length=max_completion_length)
    return collect(engine or Native().build(policy), encoder(policy), items, task, params)
