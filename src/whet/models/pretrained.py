"""Models and tokenizers of transformers, by path or by name on the Hub. The one file that imports it."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from whet.errors import ConfigError, missing_extra
from whet.models.packing import Layout

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

_REACH_TIMEOUT_S = 3.0
_ATTENTION = "whet"
_FULL = "full_attention"
_ODD_ATTENTION = ("sliding_window", "softcap", "s_aux", "position_bias")
_TRY_OUT = "for a try-out make one: python examples/tiny_checkpoint.py DIR, and policy.model=DIR"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a pretrained model is found."""

    name: str
    """A directory, or a name on the Hub."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""


def load_causal_lm(
    checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device, is_4bit: bool = False
) -> PreTrainedModel:
    """The model in evaluation mode, its dropout set to 0 in the config.

    is_4bit: matrices of all linear layers but the head are held in nf4 with double quantization (Dettmers et al.,
    2305.14314), and multiplied in `dtype`. Raises `ConfigError` for a model that cannot be had or lacks weights.
    """
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantization = None
    if is_4bit:
        _require_bitsandbytes()
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    config = load_config(checkpoint)
    with _explained(checkpoint), torch.random.fork_rng(devices=[]):
        model, info = AutoModelForCausalLM.from_pretrained(
            checkpoint.name,
            config=config,
            dtype=dtype,
            device_map={"": device},
            quantization_config=quantization,
            output_loading_info=True,
            **_from(checkpoint),
        )
    if missing := sorted(info["missing_keys"]):
        raise ConfigError(
            f"policy.model: {checkpoint.name} lacks {len(missing)} of the weights of a {type(model).__name__}, such as "
            f"{missing[0]}: it is no complete causal language model"
        )
    for layer in model.modules():
        # On some CPUs bitsandbytes would repack a weight at its first forward without gradient, scales rounded to
        # bf16: sampling and training would then see different weights.
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    loaded: PreTrainedModel = model.eval()
    return loaded


def take_attention(model: PreTrainedModel) -> bool:
    """Lets a call with `packing=attend` attend as that function says; every other call attends as before.

    False where a model cannot: its layers do not all attend to everything before them, or it knows no attention but
    its own.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if set(getattr(model.config, "layer_types", None) or [_FULL]) != {_FULL}:
        return False
    if getattr(model.config, "_attn_implementation", None) != "sdpa":
        return False
    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
    model.set_attn_implementation(_ATTENTION)
    return getattr(model.config, "_attn_implementation", None) == _ATTENTION


def packed_arguments(layout: Layout) -> dict[str, Any]:
    """What a model that `take_attention` said yes to is called with, so that it reads a packed layout.

    The mask is not looked at: it stands there so that transformers makes none.
    """
    no_mask = torch.zeros((1, 1, 1, 1), device=layout.token_ids.device)
    return {
        "input_ids": layout.token_ids,
        "position_ids": layout.positions,
        "attention_mask": no_mask,
        "packing": layout.attend,
        "use_cache": False,
    }


def _attention(
    module: Any, q: Tensor, k: Tensor, v: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, Tensor | None]:
    """q `[B, H, T, d]`, k and v `[B, K, T, d]` -> `[B, T, H, d]`, and no weights."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    attend = settings.pop("packing", None)
    if attend is None:
        out: Tensor = sdpa_attention_forward(module, q, k, v, attention_mask, **settings)[0]
        return out, None
    if odd := [name for name in _ODD_ATTENTION if settings.get(name) is not None]:
        raise ValueError(f"attention with {', '.join(odd)} cannot be packed")
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    return attend(module.layer_idx, q, k, v, settings.get("scaling")), None


def load_config(checkpoint: Checkpoint) -> PretrainedConfig:
    """The model's config, every dropout in it set to 0: the policy that samples is the policy that is trained."""
    from transformers import AutoConfig

    with _explained(checkpoint):
        config = AutoConfig.from_pretrained(checkpoint.name, **_from(checkpoint))
    for name, value in config.to_dict().items():
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)
    return config


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerFast:
    """The tokenizer that comes with a model."""
    from transformers import AutoTokenizer

    with _explained(checkpoint):
        return AutoTokenizer.from_pretrained(checkpoint.name, **_from(checkpoint))


def load_stop_ids(checkpoint: Checkpoint) -> frozenset[int]:
    """The ids that end a completion: those of the generation config, or else of the model's config."""
    from transformers import GenerationConfig

    try:
        found = GenerationConfig.from_pretrained(checkpoint.name, **_from(checkpoint)).eos_token_id
    except OSError:
        found = getattr(load_config(checkpoint), "eos_token_id", None)
    ids = found if isinstance(found, list | tuple) else [found]
    return frozenset(int(i) for i in ids if i is not None)


def gpt2_model(**sizes: Any) -> GPT2LMHeadModel:
    """A `GPT2LMHeadModel` whose config has these values. The global generator is left as it was."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng(devices=[]):  # its own initialisation draws from it
        return GPT2LMHeadModel(GPT2Config(**sizes))


def hub_is_reachable() -> bool:
    """Whether the Hub answers at all, within three seconds; no when HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    return _answers(constants.ENDPOINT)


@functools.cache
def _answers(endpoint: str) -> bool:
    """Asked once a process: looking up a name can take seconds where there is no network."""
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_REACH_TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True  # it answers, if only with an error
    except OSError:
        return False


def _from(checkpoint: Checkpoint) -> dict[str, Any]:
    """Out of the cache alone where the Hub does not answer: its own client would try for 20 seconds a file."""
    if Path(checkpoint.name).is_dir():
        return {"local_files_only": True}
    if _is_path(checkpoint.name):
        raise ConfigError(
            f"policy.model: there is no directory {checkpoint.name} (looked in {Path.cwd()}); expected the directory "
            f"of a Hugging Face model, or a name on the Hub such as Qwen/Qwen2.5-0.5B-Instruct; {_TRY_OUT}"
        )
    return {"revision": checkpoint.revision, "local_files_only": not hub_is_reachable()}


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or not name


@contextmanager
def _explained(checkpoint: Checkpoint) -> Iterator[None]:
    """Turns what transformers raises into one sentence that says what to do; progress bars are for terminals."""
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    except ConfigError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(_reason(checkpoint, error)) from error


def _reason(checkpoint: Checkpoint, error: Exception) -> str:
    name, path = checkpoint.name, Path(checkpoint.name)
    said = " ".join(str(error).split())[:300]
    if (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
        return (
            f"policy.model: {name} holds an adapter and no model: name its base in policy.model, and "
            f"policy.lora.adapter={name}"
        )
    if path.is_dir():
        return f"policy.model: {name} cannot be loaded as a causal language model: {said}"
    if not hub_is_reachable():
        home = os.environ.get("HF_HOME", "~/.cache/huggingface")
        return (
            f"policy.model: there is no directory {name} (looked in {Path.cwd()}), it is not in the cache ({home}), "
            f"and the Hub cannot be reached from here. Download it elsewhere (hf download {name} --local-dir DIR), "
            f"bring DIR here and set policy.model=DIR, or set HF_HOME to a cache that has it; {_TRY_OUT}"
        )
    return (
        f"policy.model: {name} cannot be had from the Hub ({said}). Is the name right? A gated or private model needs "
        "a token: hf auth login"
    )


def _require_bitsandbytes() -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise missing_extra("policy.quantization: 4bit", "bitsandbytes", "quant")
