"""A GPT with random weights and a tokenizer made from the training text."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator
from safetensors.torch import load_file, save_file

from whet.functional.logprobs import token_stats
from whet.interfaces import Want
from whet.models.gpt import GPT, GPTConfig
from whet.models.packing import can_pack, packed, padded
from whet.registry import Plugin
from whet.seeding import key
from whet.text.tokenizers import TextTokenizer, bpe_tokenizer, character_tokenizer, load_tokenizer
from whet.types import Batch, TokenStats


class FromScratch(Plugin):
    """Sizes and tokenizer of a GPT trained from nothing."""

    name: str = "from_scratch"
    num_layers: int = Field(default=4, ge=1)
    num_heads: int = Field(default=4, ge=1)
    width: int = Field(default=128, ge=1)
    context_length: int = Field(default=256, ge=2)
    """Tokens of prompt and completion together."""
    tokenizer: Literal["char", "bpe"] = "char"
    vocab_size: int = Field(default=4096, ge=257)
    """Of the BPE; the character tokenizer has the characters of the training text."""
    alphabet: str = ""
    """Characters that the character tokenizer must know although the training text lacks them."""

    @model_validator(mode="after")
    def _divisible(self) -> "FromScratch":
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} must be a multiple of num_heads {self.num_heads}")
        return self

    def build(self, texts: Iterable[str], seed: int, device: torch.device) -> "FromScratchPolicy":
        """A policy with random weights, its tokenizer made from the texts. The same seed gives the same bits."""
        tokenizer = (
            character_tokenizer(texts, self.alphabet)
            if self.tokenizer == "char"
            else bpe_tokenizer(texts, self.vocab_size)
        )
        sizes = GPTConfig(
            vocab_size=tokenizer.vocab_size,
            context_length=self.context_length,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            width=self.width,
        )
        return FromScratchPolicy(GPT(sizes, key(seed, "weights")).to(device), tokenizer)

    @staticmethod
    def load(directory: Path, device: torch.device) -> "FromScratchPolicy":
        """The policy that `FromScratchPolicy.save` wrote."""
        sizes = json.loads((directory / "policy.json").read_text(encoding="utf-8"))["sizes"]
        module = GPT(GPTConfig(**sizes))
        module.load_state_dict(load_file(directory / "model.safetensors"))
        return FromScratchPolicy(module.to(device), load_tokenizer(directory))


class FromScratchPolicy:
    """A GPT and its tokenizer, as the trainer and the engines see them."""

    def __init__(self, module: GPT, tokenizer: TextTokenizer) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.version = 0
        self.context_length = module.config.context_length
        self.packs = can_pack(module.wte.weight.device)

    def forward(self, batch: Batch, want: frozenset[Want] = frozenset()) -> TokenStats:
        """Statistics of the trained tokens of a batch, with gradients when they are enabled."""
        layout = packed(batch) if self.packs else padded(batch)
        states = layout.states(self.module(layout.token_ids, layout.positions, layout.attend))
        return token_stats(states, self.module.wte.weight, batch, "entropy_gradient" in want)

    def save(self, directory: Path) -> None:
        """Writes weights, sizes and tokenizer; equal policies write byte-equal files."""
        sizes = {name: getattr(self.module.config, name) for name in GPTConfig.__slots__}
        text = json.dumps({"policy": "from_scratch", "sizes": sizes}, indent=2, sort_keys=True)
        (directory / "policy.json").write_text(text + "\n", encoding="utf-8")
        save_file(
            {k: v.contiguous() for k, v in self.module.state_dict().items()}, directory / "model.safetensors"
        )
        self.tokenizer.save(directory)
