"""What the tensors of a policy take, before anything has run: read from its module and the config that it carries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from whet.models.decoder import is_known
from whet.models.gpt import GPT

SAVED_PER_LAYER = 16.0
"""Numbers per token and layer that the backward pass keeps, in units of the width D.

In a pre-norm block with four times the width between its two projections: the inputs of both norms (2), of the
projections (1 + 1 + 1 + 4), q, k and v (3), and the input of the activation (4).
"""
SAVED_BESIDE_GATES = 8.0
"""The same of a block with rotary attention and a gated MLP, whose gate, up, activation and product come on top."""
MASTER_BYTES = 4
"""Gradients, moments and masters are float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Numbers and bytes of a policy. Layers and widths are 0 where its module does not tell them."""

    parameters: int
    trained: int
    """Parameters that training moves; the others are frozen."""
    weight_bytes: int
    trained_bytes: int
    """Of the trained ones, as the module holds them."""
    masters: int = 0
    """Trained parameters of 16 bits, which have a float32 master."""
    number_bytes: int = 4
    """Of one activation, key or value."""
    num_layers: int = 0
    width: int = 0
    kv_width: int = 0
    """Of the keys of one token in one layer."""
    is_known: bool = True
    """Whether the native engine runs it; another model is sampled from with its own `generate`."""
    is_packed: bool = False
    """Whether that engine keeps plain layers of it in an order of their own while it samples on a CPU."""
    saved_per_layer: float = SAVED_PER_LAYER
    recomputes: bool = False
    """Whether only the inputs of layers are kept, and the rest is computed again, a layer at a time."""

    @property
    def optimizer_bytes(self) -> int:
        """Two moments of what is trained, and the masters."""
        return (2 * self.trained + self.masters) * MASTER_BYTES

    @property
    def saved_per_token(self) -> float:
        """Numbers per token that the backward pass keeps, the head left out."""
        layers = self.num_layers
        units = layers + self.saved_per_layer if self.recomputes else layers * self.saved_per_layer
        return (units + 2) * self.width


def footprint(module: nn.Module) -> Footprint:
    """The footprint of a module, adapters and a 4-bit base included."""
    every = list(module.parameters())
    trained = [p for p in every if p.requires_grad]
    sizes: Any = getattr(module, "config", None)
    width = _first(sizes, "width", "hidden_size")
    heads = _first(sizes, "num_attention_heads")
    head = _first(sizes, "head_dim") or (width // heads if heads else 0)
    inner = _first(sizes, "intermediate_size")
    knows = isinstance(module, GPT) or is_known(module)
    return Footprint(
        parameters=sum(map(_count, every)),
        trained=sum(map(_count, trained)),
        weight_bytes=sum(p.nbytes for p in every),
        trained_bytes=sum(p.nbytes for p in trained),
        masters=sum(p.numel() for p in trained if p.element_size() <= 2),
        number_bytes=next((p.element_size() for p in every if p.is_floating_point()), 4),
        num_layers=_first(sizes, "num_layers", "num_hidden_layers"),
        width=width,
        kv_width=_first(sizes, "num_key_value_heads") * head or width,
        is_known=knows,
        is_packed=knows and all(p.dtype == torch.float32 for p in every),
        saved_per_layer=SAVED_BESIDE_GATES + 4 * inner / width if inner and width else SAVED_PER_LAYER,
        recomputes=any(getattr(m, "gradient_checkpointing", False) for m in module.modules()),
    )


def _first(sizes: Any, *names: str) -> int:
    """The first of these attributes that is a number; 0 when none is."""
    return next((int(v) for n in names if isinstance(v := getattr(sizes, n, None), int)), 0)


def _count(parameter: nn.Parameter) -> int:
    """Numbers in a parameter; a quantized one packs several into one."""
    packed = getattr(parameter, "quant_state", None)
    return parameter.numel() if packed is None else math.prod(packed.shape)
