"""A GPT as the engine runs it: one whose weights do not change for a while, so that copies may stand for them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from whet.models.attention import Attend
from whet.models.decoder_in_c import DecoderInC, Pieces
from whet.models.gpt import GPT
from whet.models.kv_cache import CacheSizes
from whet.models.packed_linear import PackedLinears


class FrozenGPT:
    """Token ids `[B, T]` -> hidden states `[B, T, D]`; `logits` is the head. Where it can, a step is one call in C."""

    def __init__(self, module: GPT) -> None:
        self._module = module
        self._linears = PackedLinears()
        self._head = nn.Linear(1, 1, bias=False, device="meta")
        self._head.weight = module.wte.weight

    @property
    def sizes(self) -> CacheSizes:
        """What a cache keeps of a token."""
        return self._module.sizes

    def __call__(self, token_ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states after the last norm. positions: `[B, T]`."""
        module = self._module
        if not self._whole.takes(attend, token_ids):
            return module(token_ids, positions, attend)  # type: ignore[no-any-return]
        return self._whole(module.wte(token_ids) + module.wpe(positions), attend)

    @property
    def vocab_size(self) -> int:
        """Logits of a token."""
        return self._module.config.vocab_size

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary, `[..., V]`."""
        return self._linears(self._head, hidden)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of the module."""
        return self._module.parameters()

    def reserve(self, length: int) -> bool:
        """Nothing is new: every position of the context has its weights."""
        return False

    @cached_property
    def _whole(self) -> DecoderInC:
        module = self._module
        return DecoderInC(
            [_pieces(block) for block in module.h], module.ln_f, module.config.num_heads, self._linears
        )


def _pieces(block: Any) -> Pieces:
    return Pieces(
        before_attention=block.ln_1,
        qkv=(block.attn.c_attn,),
        out=block.attn.c_proj,
        before_mlp=block.ln_2,
        up=(block.mlp.c_fc,),
        down=block.mlp.c_proj,
    )
