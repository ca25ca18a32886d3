"""Between our GPT and Hugging Face's GPT-2, which keeps its projections as `[in, out]` instead of `[out, in]`."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from whet.models.gpt import GPT, GPTConfig
from whet.models.pretrained import gpt2_model

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

_PREFIX = "transformer."


def to_gpt2(model: GPT, eos_id: int) -> "GPT2LMHeadModel":
    """A `GPT2LMHeadModel` with the same weights (a copy), ready for inference."""
    sizes = model.config
    twin = gpt2_model(
        vocab_size=sizes.vocab_size,
        n_positions=sizes.context_length,
        n_embd=sizes.width,
        n_layer=sizes.num_layers,
        n_head=sizes.num_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=eos_id,
        eos_token_id=eos_id,
    )
    copy_to_gpt2(model, twin)
    return twin.to(model.wte.weight.device).eval()


@torch.no_grad()
def copy_to_gpt2(model: GPT, twin: "GPT2LMHeadModel") -> None:
    """Copies the weights into a `GPT2LMHeadModel` of the same sizes; its head is tied to its embedding."""
    theirs = twin.state_dict()
    for name, value in model.state_dict().items():
        theirs[_PREFIX + name].copy_(_transposed(name, value))


def from_gpt2(twin: "GPT2LMHeadModel") -> GPT:
    """Our GPT with the weights of a `GPT2LMHeadModel` (a copy)."""
    config = twin.config
    model = GPT(
        GPTConfig(
            vocab_size=config.vocab_size,
            context_length=config.n_positions,
            num_layers=config.n_layer,
            num_heads=config.n_head,
            width=config.n_embd,
        )
    )
    theirs = twin.state_dict()
    model.load_state_dict({name: _transposed(name, theirs[_PREFIX + name]) for name in model.state_dict()})
    return model


def _transposed(name: str, value: Tensor) -> Tensor:
    is_projection = ".c_" in name and name.endswith("weight")
    return value.T.contiguous() if is_projection else value
