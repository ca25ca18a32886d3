"""What the speed benchmarks run: models of three sizes with random weights, prompts, and lengths that are forced.

Every engine and trainer gets the same model, prompts and lengths: with random weights nothing else makes two of them do
the same work. A completion never ends by itself; its length is drawn here.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast, Qwen2Config
from transformers.utils.logging import disable_progress_bar

from whet.policies.huggingface import HuggingFace, HuggingFacePolicy
from whet.seeding import key
from whet.text.pretrained import PretrainedTokenizer
from whet.types import Completion, Request, SamplingParams

SEED = 0


@dataclass(frozen=True, slots=True)
class Size:
    """A Qwen2 architecture with a tied head, and how many completions it is measured with."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    completions: int

    @property
    def body(self) -> int:
        """Parameters of all matrices in the layers."""
        kv_width = self.width // self.heads * self.kv_heads
        attention = 2 * self.width * (self.width + kv_width)
        return self.layers * (attention + 3 * self.width * self.intermediate)

    @property
    def head(self) -> int:
        """Parameters of the head, which is the embedding too."""
        return self.vocab_size * self.width

    @property
    def kv_bytes(self) -> int:
        """Bytes that the cache holds for each token, in float32."""
        return 2 * 4 * self.layers * self.width // self.heads * self.kv_heads


SIZES = {
    "micro": Size(128, 32, 2, 4, 2, 64, completions=8),  # for tests; 22 thousand parameters
    "tiny": Size(512, 128, 4, 4, 2, 384, completions=128),  # 0.85 million
    "small": Size(4096, 384, 6, 6, 2, 1024, completions=64),  # 11.0 million
    "base": Size(8192, 768, 12, 12, 4, 2048, completions=32),  # 81.8 million
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One setting of a benchmark."""

    size: str = "tiny"
    lengths: str = "uniform"
    prompt_length: int = 64
    completion_length: int = 128
    num_generations: int = 8
    completions: int = 0
    """0: the number that belongs to the size."""
    vocab_size: int = 0
    """0: that of the size."""

    @classmethod
    def of(cls, asked: argparse.Namespace) -> Case:
        """The case that the options of `add_options` describe."""
        return cls(**{name: getattr(asked, name) for name in cls.__slots__})

    @property
    def model(self) -> Size:
        """The sizes of the model."""
        size = SIZES[self.size]
        return replace(size, vocab_size=self.vocab_size) if self.vocab_size else size

    @property
    def num_prompts(self) -> int:
        """Prompts of a step."""
        return (self.completions or self.model.completions) // self.num_generations

    @property
    def num_rows(self) -> int:
        """Completions of a step; the last group is always whole."""
        return self.num_prompts * self.num_generations

    def prompts(self) -> list[list[int]]:
        """Token ids of each prompt, drawn evenly. The last two ids are special and never drawn."""
        draw = random.Random(SEED)
        highest = self.model.vocab_size - 3
        return [
            [draw.randint(0, highest) for _ in range(self.prompt_length)] for _ in range(self.num_prompts)
        ]

    def row_prompts(self) -> list[list[int]]:
        """The prompt of each completion, group by group."""
        return [prompt for prompt in self.prompts() for _ in range(self.num_generations)]

    def forced(self) -> list[int]:
        """The length of each completion."""
        return forced_lengths(self.lengths, self.num_rows, self.completion_length, SEED)

    def params(self, temperature: float = 1.0) -> SamplingParams:
        """The sampling settings."""
        return SamplingParams(max_completion_length=self.completion_length, temperature=temperature)

    def requests(self) -> list[Request]:
        """One request per prompt."""
        keys = [key(SEED, "speed", i) for i in range(self.num_rows)]
        each = self.num_generations
        return [
            Request(prompt_ids=tuple(ids), keys=tuple(keys[i * each : (i + 1) * each]))
            for i, ids in enumerate(self.prompts())
        ]

    def about(self) -> dict[str, Any]:
        """The case as it stands in a report."""
        model = self.model
        parameters = model.body + model.head
        lengths = self.forced()
        return {
            **asdict(self),
            "completions": self.num_rows,
            "matrix_parameters": parameters,
            "tokens": sum(lengths),
            "mean_length": sum(lengths) / len(lengths),
        }


def forced_lengths(kind: str, count: int, longest: int, seed: int) -> list[int]:
    """Lengths of completions, one of which is the longest allowed.

    `uniform`: every length from longest/10 to longest alike. `geometric`: P(n) = p (1 - p)^(n - 1) with mean
    longest/4, cut at the longest.
    """
    draw = random.Random(f"{kind} {seed}")
    if kind == "uniform":
        lengths = [draw.randint(max(1, longest // 10), longest) for _ in range(count)]
    elif kind == "geometric":
        lengths = [
            min(longest, 1 + int(draw.expovariate(1) / -math.log1p(-4 / longest))) for _ in range(count)
        ]
    else:
        raise ValueError(f"lengths are uniform or geometric, not {kind}")
    lengths[draw.randrange(count)] = longest
    return lengths


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that describe a case."""
    parser.add_argument("--size", choices=list(SIZES), default="tiny")
    parser.add_argument("--lengths", choices=["uniform", "geometric"], default="uniform")
    for name in ("prompt_length", "completion_length", "num_generations", "completions", "vocab_size"):
        default = Case.__dataclass_fields__[name].default
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)


def write_checkpoint(directory: Path, case: Case) -> None:
    """Writes the case's model with random weights and a tokenizer whose words are the numbers 0, 1, 2, ..."""
    size = case.model
    disable_progress_bar()
    config = Qwen2Config(
        vocab_size=size.vocab_size,
        hidden_size=size.width,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        max_position_embeddings=max(1024, case.prompt_length + case.completion_length),
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=size.vocab_size - 1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.generation_config = GenerationConfig(pad_token_id=size.vocab_size - 1)
    model.save_pretrained(directory)
    numbers(size.vocab_size).save_pretrained(directory)


def numbers(vocab_size: int) -> PreTrainedTokenizerFast:
    """A tokenizer that writes token 7 as `7`; the last two ids end and pad a text."""
    words = [str(i) for i in range(vocab_size - 2)] + ["<end>", "<|endoftext|>"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<|endoftext|>")


def load_policy(directory: Path) -> HuggingFacePolicy:
    """The policy of a checkpoint; no token ends its completions.

    Its tokenizer is made anew: transformers reads any tokenizer beside a Qwen2 model as one over bytes.
    """
    policy = HuggingFace(model=str(directory), precision="fp32").build([], SEED, torch.device("cpu"))
    policy.tokenizer = PretrainedTokenizer(numbers(policy.tokenizer.vocab_size))
    policy.tokenizer.stop_ids = frozenset()
    return policy


def share_of_even(text: str) -> float:
    """The reward: which share of a text's numbers is even. It differs within almost every group."""
    words = text.split()
    return sum(int(word) % 2 == 0 for word in words) / max(1, len(words))


class ForcedLengths:
    """An engine that gives the i-th completion the i-th of some lengths."""

    def __init__(self, engine: Any, lengths: Sequence[int]) -> None:
        self._engine, self._lengths = engine, lengths

    def generate(
        self, requests: Sequence[Request], params: SamplingParams, *args: Any, **kwargs: Any
    ) -> Iterator[Completion]:
        """Asks for each completion by itself, since each has its limit, and hands it back as a sample of its group."""
        places = [(r, s) for r, request in enumerate(requests) for s in range(len(request.keys))]
        single = [
            Request(
                prompt_ids=requests[r].prompt_ids, keys=(requests[r].keys[s],), max_completion_length=length
            )
            for (r, s), length in zip(places, self._lengths, strict=True)
        ]
        for found in self._engine.generate(single, params, *args, **kwargs):
            request, sample = places[found.request]
            yield replace(found, request=request, sample=sample)
