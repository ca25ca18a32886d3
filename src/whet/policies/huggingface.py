"""A pretrained causal language model of transformers, trained whole or through LoRA adapters."""

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from whet.errors import ConfigError
from whet.functional.logprobs import token_stats
from whet.interfaces import Want
from whet.models.decoder import Decoder, is_known
from whet.models.packing import Layout, can_pack, packed, padded
from whet.models.pretrained import (
    Checkpoint,
    load_causal_lm,
    load_stop_ids,
    load_tokenizer,
    packed_arguments,
    take_attention,
)
from whet.policies._adapters import Adapter, Held, Lora, merged
from whet.registry import Plugin
from whet.text.pretrained import PretrainedTokenizer
from whet.types import Batch, TokenStats

_log = logging.getLogger(__name__)
_HOW_IT_IS_RUN = ("precision", "quantization", "activation_checkpointing", "context_length")
_PACKED_GAP = {torch.float32: 1e-5, torch.float64: 1e-5, torch.bfloat16: 0.02, torch.float16: 0.02}
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class HuggingFace(Plugin):
    """Which pretrained model, in which precision, and what of it is trained."""

    name: str = "huggingface"
    model: str = Field(min_length=1)
    """Directory of a model, or its name on the Hub."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the weights; what is trained has float32 masters. auto: bf16 on an accelerator that computes with it."""
    quantization: Literal["4bit"] | None = None
    """Hold the frozen base in 4 bits (nf4, double quantization); needs `lora`."""
    lora: Lora | None = None
    """Train adapters instead of the whole model."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, about a third slower."""
    context_length: int | None = Field(default=None, ge=2)
    """Tokens of prompt and completion together; default: the model's own."""

    @model_validator(mode="after")
    def _four_bits_are_frozen(self) -> "HuggingFace":
        if self.quantization and self.lora is None:
            raise ValueError(
                "a 4-bit base cannot be trained itself: add policy.lora={}, or remove quantization"
            )
        return self

    def build(self, texts: Iterable[str], seed: int, device: torch.device) -> "HuggingFacePolicy":
        """The pretrained policy; the texts are not used. New adapters are a function of the seed."""
        settings = self.model_copy(update={"precision": _precision(self.precision, device)})
        module = settings._module(self.checkpoint, device)
        adapter = None
        if self.lora is not None and self.lora.adapter is not None:
            adapter = Adapter.load(module, Path(self.lora.adapter), self.model, settings._held)
        elif self.lora is not None:
            adapter = Adapter.new(module, self.lora, self.model, seed)
        return HuggingFacePolicy(module, self.tokenizer(), settings, adapter)

    @staticmethod
    def saved(directory: Path) -> "HuggingFace":
        """The settings in a directory that `HuggingFacePolicy.save` wrote."""
        return HuggingFace(**json.loads((directory / "policy.json").read_text(encoding="utf-8"))["settings"])

    def run_as(self, asked: Plugin | None) -> "HuggingFace":
        """These settings of a saved policy with those that others set and that do not change what it is.

        What they would change of it, another model or other adapters, is left aside with a warning.
        """
        if not isinstance(asked, HuggingFace):
            return self
        given = {name: getattr(asked, name) for name in asked.model_fields_set}
        ignored = [n for n in ("model", "revision", "lora") if n in given and given[n] != getattr(self, n)]
        if ignored:
            _log.warning("init_from brings its own model: policy.%s is left aside", ", policy.".join(ignored))
        changes = {name: given[name] for name in _HOW_IT_IS_RUN if name in given}
        if changes.get("quantization") and self.lora is None:
            raise ConfigError(
                "policy.quantization: init_from names a whole model, and a 4-bit base cannot be trained itself"
            )
        return self.model_copy(update=changes)

    @staticmethod
    def load(
        directory: Path, device: torch.device, settings: "HuggingFace | None" = None
    ) -> "HuggingFacePolicy":
        """The policy that `HuggingFacePolicy.save` wrote; the base of adapters is loaded from where it was."""
        settings, here = settings or HuggingFace.saved(directory), Checkpoint(str(directory))
        settings = settings.model_copy(update={"precision": _precision(settings.precision, device)})
        module = settings._module(here if settings.lora is None else settings.checkpoint, device)
        adapter = None
        if settings.lora is not None:
            adapter = Adapter.load(module, directory, settings.model, settings._held)
        return HuggingFacePolicy(module, _tokenizer(here), settings, adapter)

    def tokenizer(self) -> PretrainedTokenizer:
        """The model's tokenizer, without its weights."""
        return _tokenizer(self.checkpoint)

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the model is found."""
        return Checkpoint(self.model, self.revision)

    @property
    def _held(self) -> Held:
        return self.precision, self.quantization

    def _module(self, checkpoint: Checkpoint, device: torch.device) -> Any:
        return load_causal_lm(checkpoint, _DTYPES[self.precision], device, self.quantization == "4bit")


class HuggingFacePolicy:
    """A transformers model and its tokenizer, as the trainer and the engines see them."""

    def __init__(
        self, module: Any, tokenizer: PretrainedTokenizer, settings: HuggingFace, adapter: Adapter | None
    ) -> None:
        """module: in evaluation mode, adapters put in."""
        self.module = module
        self.tokenizer = tokenizer
        self.version = 0
        self.settings = settings
        self.context_length = _context_length(module, settings)
        self._adapter = adapter
        self._has_plain_head = _has_plain_head(module)
        self.packs = _can_pack(module)
        can_decode = self._has_plain_head and is_known(module) and not settings.activation_checkpointing
        self._decoder = Decoder(module) if can_decode else None
        rows = module.get_input_embeddings().weight.shape[0]
        if rows < tokenizer.vocab_size:
            raise ConfigError(
                f"policy.model: the tokenizer of {settings.model} has {tokenizer.vocab_size} tokens, and the model "
                f"knows {rows}: they do not belong together"
            )
        if settings.activation_checkpointing:
            _checkpoint_activations(module)

    def forward(self, batch: Batch, want: frozenset[Want] = frozenset()) -> TokenStats:
        """Statistics of the trained tokens of a batch, with gradients when they are enabled."""
        layout = packed(batch) if self.packs else padded(batch)
        if self._decoder is not None:
            hidden, head = (
                self._decoder.read(layout.token_ids, layout.positions, layout.attend),
                _head(self.module),
            )
        elif self._has_plain_head:
            hidden, head = self.module.base_model(**self._read(layout)).last_hidden_state, _head(self.module)
        else:
            hidden, head = self.module(**self._read(layout)).logits, _itself
        return token_stats(layout.states(hidden), head, batch, "entropy_gradient" in want)

    def _read(self, layout: Layout) -> dict[str, Any]:
        if self.packs:
            return packed_arguments(layout)
        return {"input_ids": layout.token_ids, "use_cache": False}

    def save(self, directory: Path) -> None:
        """Writes a transformers directory, or adapters that plain peft loads; equal policies write equal bytes."""
        about: dict[str, Any] = {"policy": "huggingface", "settings": self.settings.model_dump(mode="json")}
        if self._adapter is None:
            self.module.save_pretrained(directory)
        else:
            about["base"] = self._adapter.base
            self._adapter.save(directory)
            self.module.generation_config.save_pretrained(directory)
        self.tokenizer.save(directory)
        text = json.dumps(about, indent=2, sort_keys=True)
        (directory / "policy.json").write_text(text + "\n", encoding="utf-8")

    def merged(self) -> Any:
        """A copy of the model with its adapters folded in: a plain transformers model."""
        return merged(self.module, _DTYPES[self.settings.precision])

    @contextmanager
    def dropout(self) -> Iterator[None]:
        """Inside, adapters drop `lora.dropout` of their input; for supervised steps. Everywhere else dropout is off."""
        if self._adapter is None:
            yield
        else:
            with self._adapter.dropout():
                yield


def _tokenizer(checkpoint: Checkpoint) -> PretrainedTokenizer:
    return PretrainedTokenizer(load_tokenizer(checkpoint), load_stop_ids(checkpoint))


def _precision(name: str, device: torch.device) -> str:
    if name != "auto":
        return name
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def _context_length(module: Any, settings: HuggingFace) -> int:
    longest = getattr(module.config, "max_position_embeddings", None)
    wanted = settings.context_length or longest
    if wanted is None:
        raise ConfigError(
            f"policy.context_length: {settings.model} does not say how long its context is; set it"
        )
    if longest is not None and wanted > longest:
        raise ConfigError(
            f"policy.context_length is {wanted}, and {settings.model} reads at most {longest} tokens: lower it"
        )
    return int(wanted)


@torch.no_grad()
def _has_plain_head(module: Any) -> bool:
    """Whether logits are the head's output and no more, to the bit: some models scale them or cap them."""
    ids = torch.arange(8, device=module.device)[None]
    head = module.get_output_embeddings()
    if head is None:
        return False
    states = module.base_model(input_ids=ids, use_cache=False).last_hidden_state
    return torch.equal(head(states).float(), module(input_ids=ids, use_cache=False).logits.float())


@torch.no_grad()
def _can_pack(module: Any) -> bool:
    """Whether the model says the same of tokens that are packed: some mix them, or count positions themselves."""
    if not can_pack(module.device) or not take_attention(module):
        return False
    # Two rows with one prompt, and one with its own; all of unequal lengths.
    ids = torch.tensor([[2, 7, 1, 4, 3, 9, 5, 2], [2, 7, 1, 8, 2, 0, 0, 0], [3, 1, 4, 1, 5, 0, 0, 0]])
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0, 0, 0]]).bool()
    batch = Batch(
        token_ids=ids, lengths=torch.tensor([8, 5, 5]), loss_mask=mask, group=torch.tensor([0, 0, 1]),
        truncated=mask[:, 0], rewards=torch.zeros(3, 8), sampling_logprobs=torch.zeros(3, 8),
    ).to(module.device)  # fmt: skip
    one, other = padded(batch), packed(batch)
    expected = one.states(module.base_model(input_ids=one.token_ids, use_cache=False).last_hidden_state)
    try:
        found = other.states(module.base_model(**packed_arguments(other)).last_hidden_state)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        _log.info("rows are padded: %s does not take packed ones (%s)", type(module).__name__, error)
        return False
    gap = float((found - expected).float().norm() / expected.float().norm())
    if gap > _PACKED_GAP[expected.dtype]:
        _log.info("rows are padded: %s says other things of packed ones (%.1e)", type(module).__name__, gap)
        return False
    return True


def _head(module: Any) -> Any:
    """The matrix of a plain head; else the layer itself, which may be quantized or carry adapters."""
    head = module.get_output_embeddings()
    return head.weight if type(head) is nn.Linear and head.bias is None else head


def _checkpoint_activations(module: Any) -> None:
    """Only in training mode does transformers act on it; with every dropout at 0 that mode is no other."""
    how = {"use_reentrant": False}
    if hasattr(module, "activation_checkpointing_enable"):
        module.activation_checkpointing_enable(activation_checkpointing_kwargs=how)
    else:  # transformers 4
        module.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)
    module.train()


def _itself(states: Tensor) -> Tensor:
    return states
