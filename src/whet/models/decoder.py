"""Llama, Qwen2 and Qwen3 of transformers as an engine runs them: their own modules, without their bookkeeping.

Every linear layer and norm is called as the module that it is, so that adapters and 4-bit weights act as they do in
training, and nothing is copied.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from whet.models.attention import Attend
from whet.models.kv_cache import CacheSizes

FAMILIES = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_ROTARY = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embedding whose angles depend on the position alone."""


class Decoder:
    """Token ids `[B, T]` -> hidden states `[B, T, D]`; `logits` is the head."""

    def __init__(self, module: Any) -> None:
        """module: of one of the `FAMILIES`."""
        self._module = module
        self._model = module.model
        self._head = module.get_output_embeddings()
        self._head_size = module.model.layers[0].self_attn.head_dim
        self._cos = self._sin = torch.empty(0, device=module.device)

    @property
    def sizes(self) -> CacheSizes:
        """What a cache keeps of a token."""
        config = self._module.config
        return CacheSizes(
            num_layers=len(self._model.layers),
            kv_heads=config.num_key_value_heads,
            head_size=self._head_size,
            dtype=self._model.norm.weight.dtype,
            device=self._module.device,
        )

    def __call__(self, token_ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states after the last norm. positions: `[B, T]`, below what `reserve` was told."""
        x = self._model.embed_tokens(token_ids)
        cos, sin = self._cos[positions][:, :, None], self._sin[positions][:, :, None]  # [B, T, 1, D/H]
        for number, layer in enumerate(self._model.layers):
            x = x + self._attention(layer.self_attn, layer.input_layernorm(x), cos, sin, (number, attend))
            x = x + _mlp(layer.mlp, layer.post_attention_layernorm(x))
        hidden: Tensor = self._model.norm(x)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary, `[..., V]`."""
        found: Tensor = self._head(hidden)
        return found

    def reserve(self, length: int) -> None:
        """Rotary angles of the positions below `length`, as the model's own embedding gives them."""
        if len(self._cos) >= length:
            return
        positions = torch.arange(length, device=self._module.device)[None]
        cos, sin = self._model.rotary_emb(self._model.norm.weight, positions)
        half = self._head_size // 2
        # rotate_half(x) * sin, written as roll(x) * [-sin, sin]
        self._cos, self._sin = cos[0], torch.cat((-sin[0, :, :half], sin[0, :, half:]), -1)

    def _attention(self, block: Any, x: Tensor, cos: Tensor, sin: Tensor, how: tuple[int, Attend]) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (-1, self._head_size))
            for project in (block.q_proj, block.k_proj, block.v_proj)
        )
        if hasattr(block, "q_norm"):
            q, k = block.q_norm(q), block.k_norm(k)
        both = torch.cat((q, k), 2)
        both = both * cos + both.roll(self._head_size // 2, -1) * sin
        number, attend = how
        out: Tensor = block.o_proj(
            attend(number, both[:, :, : q.shape[2]], both[:, :, q.shape[2] :], v).flatten(2)
        )
        return out


def is_known(module: nn.Module) -> bool:
    """Whether a module is one that `Decoder` runs: of a known family, every layer attending to all tokens before."""
    config: Any = getattr(module, "config", None)
    if type(module).__name__ not in FAMILIES:
        return False
    rotary = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        kinds == {"full_attention"}
        and config.hidden_act == "silu"
        and rotary.get("rope_type", "default") in _ROTARY
    )


def _mlp(block: Any, x: Tensor) -> Tensor:
    out: Tensor = block.down_proj(silu(block.gate_proj(x), inplace=True).mul_(block.up_proj(x)))
    return out
