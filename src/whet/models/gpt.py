"""A GPT as in GPT-2 (Radford et al. 2019): learned positions, pre-norm blocks, tanh GELU, tied embeddings.

Parameters carry GPT-2's names, so its checkpoints load and ours export (`models/gpt2_layout.py`). Sizes: B sequences,
T tokens, V vocabulary, D width, H heads, L layers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from whet.models.attention import Attend, causal
from whet.models.fused import gelu
from whet.models.kv_cache import CacheSizes


@dataclass(frozen=True, slots=True, kw_only=True)
class GPTConfig:
    """The sizes of a GPT."""

    vocab_size: int
    context_length: int
    num_layers: int
    num_heads: int
    width: int


class GPT(nn.Module):
    """Token ids `[B, T]` -> hidden states `[B, T, D]`; `logits` is the tied head.

    Weights are made on the CPU from the seed alone: the same seed gives the same bits.
    """

    def __init__(self, config: GPTConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):  # torch's own initialisation draws from the global generator
            self.wte = nn.Embedding(config.vocab_size, config.width)
            self.wpe = nn.Embedding(config.context_length, config.width)
            self.h = nn.ModuleList(Block(config) for _ in range(config.num_layers))
            self.ln_f = nn.LayerNorm(config.width)
        self._initialise(torch.Generator().manual_seed(seed))

    def forward(self, token_ids: Tensor, positions: Tensor | None = None, attend: Attend = causal) -> Tensor:
        """Hidden states after the last norm, `[B, T, D]`. `positions` `[B, T]` defaults to 0..T-1."""
        if positions is None:
            positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        x = self.wte(token_ids) + self.wpe(positions)
        for layer, block in enumerate(self.h):
            x = block(x, layer, attend)
        hidden: Tensor = self.ln_f(x)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary, `[..., V]`."""
        return hidden @ self.wte.weight.T

    @property
    def sizes(self) -> CacheSizes:
        """What a cache keeps of a token."""
        config, weight = self.config, self.wte.weight
        return CacheSizes(
            num_layers=config.num_layers,
            kv_heads=config.num_heads,
            head_size=config.width // config.num_heads,
            dtype=weight.dtype,
            device=weight.device,
        )

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Normal weights: 0.02 for embeddings, 0.02 sqrt(768 / D) for projections.

        Projections into the residual stream get 1/sqrt(2 L) of that. At D = 768 all of this is GPT-2's own
        (section 2.3). In narrower models a projection of 0.02 lets almost nothing through: at D = 128 two-digit
        addition was learned much later.
        """
        std = 0.02 * (768 / self.config.width) ** 0.5
        residual_std = std * (2 * self.config.num_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() == 1:  # gain of a norm
                parameter.fill_(1.0)
            elif name in ("wte.weight", "wpe.weight"):
                parameter.normal_(0.0, 0.02, generator=generator)
            else:
                is_residual = name.endswith("c_proj.weight")
                parameter.normal_(0.0, residual_std if is_residual else std, generator=generator)


class Block(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.width)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, layer: int, attend: Attend) -> Tensor:
        """`[B, T, D] -> [B, T, D]`."""
        x = x + self.attn(self.ln_1(x), layer, attend)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class CausalSelfAttention(nn.Module):
    """Multi-head attention with one projection for queries, keys and values."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.c_attn = nn.Linear(config.width, 3 * config.width)
        self.c_proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, layer: int, attend: Attend) -> Tensor:
        """`[B, T, D] -> [B, T, D]`."""
        q, k, v = self.c_attn(x).unflatten(-1, (3, self.num_heads, -1)).unbind(2)  # each [B, T, H, D/H]
        out: Tensor = self.c_proj(attend(layer, q, k, v).flatten(2))
        return out


class MLP(nn.Module):
    """Two layers, four times the width between them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.width, 4 * config.width)
        self.c_proj = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, D] -> [B, T, D]`."""
        out: Tensor = self.c_proj(gelu(self.c_fc(x)))
        return out
