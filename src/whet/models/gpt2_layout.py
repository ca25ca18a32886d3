"""Between our GPT and Hugging Face's GPT-2, which keeps its projections as `[in, out]` instead of `[out, in]`."""

from typing import TYPE_CHECKING

from torch import Tensor

from whet.models.gpt import GPT, GPTConfig

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

_PREFIX = "transformer."


def to_gpt2(model: GPT, eos_id: int) -> "GPT2LMHeadModel":
    """A `GPT2LMHeadModel` with the same weights (a copy)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = model.config
    config = GPT2Config(
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
    twin = GPT2LMHeadModel(config)
    twin.load_state_dict(
        {_PREFIX + k: _transposed(k, v) for k, v in model.state_dict().items()}, strict=False
    )
    twin.tie_weights()
    return twin.eval()


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
    theirs = {k.removeprefix(_PREFIX): v for k, v in twin.state_dict().items() if k.startswith(_PREFIX)}
    model.load_state_dict({k: _transposed(k, theirs[k]) for k in model.state_dict()})
    return model


def _transposed(name: str, value: Tensor) -> Tensor:
    is_projection = ".c_" in name and name.endswith("weight")
    return value.T.contiguous() if is_projection else value
