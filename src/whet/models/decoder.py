"""Llama, Qwen2 and Qwen3 of transformers as an engine runs them: their own modules, without their bookkeeping.

Every layer with adapters or 4-bit weights is called as the module that it is, and so acts as it does in training. Plain
ones may be computed by other code over the same tensors, or over a copy where they do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm, silu

from whet.models import decode_step, decode_step_gpu, fused
from whet.models.attention import Attend
from whet.models.decoder_in_c import DecoderInC, Pieces
from whet.models.kv_cache import CacheSizes
from whet.models.packed_linear import PackedLinears, is_plain

FAMILIES = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_ROTARY = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embedding whose angles depend on the position alone."""


class Decoder:
    """Token ids `[B, T]` -> hidden states `[B, T, D]`; `logits` is the head."""

    def __init__(self, module: Any, frozen: bool = False) -> None:
        """module: of one of the `FAMILIES`, as it is now: adapters that are put in later are not seen.

        frozen: no weight changes while the decoder is in use, so that copies may stand for them.
        """
        self._module = module
        self._linears = PackedLinears() if frozen else None
        self._in_c = _InPlace(decode_step, self._linears or _Modules.linear)
        self._model = module.model
        self._head = module.get_output_embeddings()
        self._head_size = module.model.layers[0].self_attn.head_dim
        self._layers = [_pieces(layer) for layer in module.model.layers]
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
        cos, sin = self._cos[positions], self._sin[positions]  # [B, T, D/H]
        if self._whole is not None and self._whole.takes(attend, token_ids):
            return self._whole(x, attend, cos, sin)
        run = self._pieces(token_ids, attend)
        more = None  # what the residual stream is still to be given
        for number, layer in enumerate(self._layers):
            x, y = run.norm(layer.before_attention, x, more)
            q, k, v = (run.linear(p, y).unflatten(-1, (-1, self._head_size)) for p in layer.qkv)
            if layer.q_norm is not None:
                q, k = run.norm(layer.q_norm, q, None)[1], run.norm(layer.k_norm, k, None)[1]
            q, k = run.rotate(q, k, cos, sin)
            x, y = run.norm(layer.before_mlp, x, run.linear(layer.out, attend(number, q, k, v).flatten(2)))
            more = run.linear(layer.down, run.gate(*(run.linear(p, y) for p in layer.up)))
        return run.norm(self._model.norm, x, more)[1]

    def read(self, token_ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """The same for any positions below T; with gradients, where they are enabled."""
        self.reserve(token_ids.shape[1])
        return self(token_ids, positions, attend)

    def _pieces(self, token_ids: Tensor, attend: Attend) -> type[_Modules | _WithGradients] | _InPlace:
        is_step = token_ids.shape[1] == 1 and not torch.is_grad_enabled()
        if self.is_compiled:
            is_step = is_step and isinstance(attend, decode_step.Attention)  # prompts of one token are none
            return self._in_c if is_step else _WithGradients
        if self.has_kernels:
            return _IN_KERNELS if is_step else _ModulesAndKernels
        return _Modules

    @cached_property
    def _whole(self) -> DecoderInC | None:
        """All layers of a step in one call; only over copies of weights, and where there is code in C."""
        if self._linears is None or not self.is_compiled:
            return None
        heads = self._module.config.num_attention_heads
        return DecoderInC(self._layers, self._model.norm, heads, self._linears)

    @cached_property
    def is_compiled(self) -> bool:
        """Whether norms, rotary embedding and gates are computed in C."""
        sizes, width = self.sizes, self._model.norm.weight.shape[0]
        inner = self._module.config.intermediate_size
        return decode_step.is_possible(sizes.dtype, sizes.device, sizes.head_size // 2, width, inner)

    @property
    def has_kernels(self) -> bool:
        """Whether norms, rotary embedding and gates of a decode step are one kernel each, on a GPU."""
        sizes = self.sizes
        return decode_step_gpu.is_possible(sizes.dtype, sizes.device, sizes.head_size)

    @property
    def vocab_size(self) -> int:
        """Logits of a token."""
        return int(self._module.config.vocab_size)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary, `[..., V]`."""
        if self.is_compiled and not torch.is_grad_enabled():
            return self._in_c.linear(self._head, hidden)
        found: Tensor = self._head(hidden)
        return found

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of the module."""
        found: Iterator[nn.Parameter] = self._module.parameters()
        return found

    def reserve(self, length: int) -> bool:
        """Rotary angles of positions below `length`, as the model's own embedding gives them; whether they are new."""
        if len(self._cos) >= length:
            return False
        positions = torch.arange(length, device=self._module.device)[None]
        cos, sin = self._model.rotary_emb(self._model.norm.weight, positions)
        half = self._head_size // 2
        # rotate_half(x) * sin, written as roll(x) * [-sin, sin]
        self._cos, self._sin = cos[0], torch.cat((-sin[0, :, :half], sin[0, :, half:]), -1)
        return True


def _pieces(layer: Any) -> Pieces:
    block, mlp = layer.self_attn, layer.mlp
    return Pieces(
        before_attention=layer.input_layernorm,
        qkv=(block.q_proj, block.k_proj, block.v_proj),
        q_norm=getattr(block, "q_norm", None),
        k_norm=getattr(block, "k_norm", None),
        out=block.o_proj,
        before_mlp=layer.post_attention_layernorm,
        up=(mlp.gate_proj, mlp.up_proj),
        down=mlp.down_proj,
    )


class _Modules:
    """The pieces of a layer as the modules and torch compute them."""

    @staticmethod
    def linear(module: nn.Module, x: Tensor) -> Tensor:
        """A plain layer without what `nn.Module` does around it, which takes as long in a small model."""
        found: Tensor = linear(x, module.weight, module.bias) if is_plain(module) else module(x)
        return found

    @staticmethod
    def norm(module: Any, x: Tensor, more: Tensor | None) -> tuple[Tensor, Tensor]:
        """x with more, and its norm."""
        x = x if more is None else x + more
        if not x.is_cuda:
            return x, module(x)
        return x, rms_norm(
            x, module.weight.shape, module.weight, module.variance_epsilon
        )  # one kernel, not eight

    @staticmethod
    def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary embedding."""
        half, cos, sin = q.shape[-1] // 2, cos.unsqueeze(-2), sin.unsqueeze(-2)
        return q * cos + q.roll(half, -1) * sin, k * cos + k.roll(half, -1) * sin

    @staticmethod
    def gate(gate: Tensor, up: Tensor) -> Tensor:
        """silu(gate) * up."""
        return silu(gate) * up


class _InPlace:
    """The same for one token per row without gradients, in place: in C, or in kernels of a GPU."""

    def __init__(self, code: ModuleType, linear: Callable[[nn.Module, Tensor], Tensor]) -> None:
        """code: `decode_step` or `decode_step_gpu`."""
        self._code, self.linear = code, linear

    def norm(self, module: Any, x: Tensor, more: Tensor | None) -> tuple[Tensor, Tensor]:
        """x with more, and its norm."""
        return x, self._code.rms_norm(x, more, module.weight, module.variance_epsilon)

    def rotate(self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary embedding."""
        self._code.rotate(q, k, cos, sin)
        return q, k

    def gate(self, gate: Tensor, up: Tensor) -> Tensor:
        """silu(gate) * up."""
        found: Tensor = self._code.swiglu(gate, up)
        return found


class _ModulesAndKernels(_Modules):
    """The pieces as modules and torch compute them on a GPU, with a gate that keeps less."""

    @staticmethod
    def gate(gate: Tensor, up: Tensor) -> Tensor:
        """silu(gate) * up."""
        found: Tensor = decode_step_gpu.SwiGLU.apply(gate, up)
        return found


_IN_KERNELS = _InPlace(decode_step_gpu, _Modules.linear)


class _WithGradients:
    """The same with gradients, in C but for the products."""

    linear = _Modules.linear

    @staticmethod
    def norm(module: Any, x: Tensor, more: Tensor | None) -> tuple[Tensor, Tensor]:
        """x with more, and its norm."""
        found: tuple[Tensor, Tensor] = fused.Norm.apply(x, more, module.weight, module.variance_epsilon)
        return found

    @staticmethod
    def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary embedding."""
        found: tuple[Tensor, Tensor] = fused.Rotate.apply(q, k, cos, sin)
        return found

    @staticmethod
    def gate(gate: Tensor, up: Tensor) -> Tensor:
        """silu(gate) * up."""
        found: Tensor = fused.SwiGLU.apply(gate, up)
        return found


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
