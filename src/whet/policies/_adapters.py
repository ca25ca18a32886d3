"""LoRA adapters (Hu et al., 2106.09685) inside a transformers model. The one file that imports peft.

W x becomes W x + (alpha / r) B A x, with A `[r, in]` random, B `[out, r]` zero, and W frozen. The layers are put in
place, so that the model keeps its class, and stay float32 whatever the base is.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from whet.errors import ConfigError
from whet.models.fingerprint import base_fingerprint
from whet.registry import Settings
from whet.seeding import key

# peft imports bitsandbytes where it is installed, which then complains of a kernel that nobody asked for.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

_NAME = "default"
_PREFIX = "base_model.model."
"""What plain peft puts before the names of a model's own parameters."""
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

Held = tuple[str, str | None]
"""Precision and quantization of a base."""


class Lora(Settings):
    """Size and place of the adapters; or `adapter`, which brings its own."""

    r: int = Field(default=16, ge=1)
    """Rank."""
    alpha: float = Field(default=32.0, gt=0.0)
    """The adapters' output is multiplied by alpha / r."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Of the adapters' input, in supervised stages only: the policy that samples is the policy that RL trains."""
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Names of the layers that get one; all-linear leaves out the head."""
    adapter: str | None = None
    """Directory of an adapter to go on from; its size and places are used, and the settings above are not."""


class Adapter:
    """The adapters of one model, all under one name."""

    def __init__(self, module: nn.Module, config: Any, base: str) -> None:
        """base: fingerprint of the model before the layers were put in."""
        self._module = module
        self._config = config
        self.base = base
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        for dropout in self._dropouts():
            dropout.p = 0.0

    @classmethod
    def new(cls, module: nn.Module, lora: Lora, name: str, seed: int) -> Adapter:
        """Adapters that change nothing yet; A is a function of the seed. name: of the base model."""
        from peft import LoraConfig, inject_adapter_in_model

        base = base_fingerprint(module)
        config = LoraConfig(
            base_model_name_or_path=name,
            task_type="CAUSAL_LM",
            r=lora.r,
            lora_alpha=int(lora.alpha) if float(lora.alpha).is_integer() else lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        )
        with torch.random.fork_rng(devices=[]), _explained(name):
            torch.default_generator.manual_seed(key(seed, "adapter"))
            inject_adapter_in_model(config, module, _NAME)
        return cls(module, config, base)

    @classmethod
    def load(cls, module: nn.Module, directory: Path, name: str, held: Held) -> Adapter:
        """The adapters in a directory, as plain peft writes them. Raises `ConfigError` for those of another base.

        held: how the module holds its base.
        """
        from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

        base = base_fingerprint(module)
        if not (directory / _CONFIG).is_file() or not (directory / _WEIGHTS).is_file():
            raise ConfigError(
                f"{directory} holds no adapter: expected {_CONFIG} and {_WEIGHTS} (in {Path.cwd()})"
            )
        config = LoraConfig.from_pretrained(str(directory))
        _check_is_plain(config, directory)
        _check_base(directory, config.base_model_name_or_path or "", name, (base, held))
        config.inference_mode = False
        with (
            torch.random.fork_rng(devices=[]),
            _explained(f"{name}, which the adapter {directory} is put into,"),
        ):
            inject_adapter_in_model(config, module, _NAME)
        made = cls(module, config, base)
        state = {n.removeprefix(_PREFIX): t for n, t in load_file(directory / _WEIGHTS).items()}
        _check_shapes(
            made.tensors(), state, f"the adapter {directory} of {config.base_model_name_or_path}", name
        )
        set_peft_model_state_dict(module, state, _NAME)
        return made

    def tensors(self) -> dict[str, Tensor]:
        """The adapters' parameters under peft's names, without its prefix."""
        from peft import get_peft_model_state_dict
        from peft.tuners.lora import LoraLayer
        from peft.utils.constants import EMBEDDING_LAYER_NAMES

        layers = (n for n, m in self._module.named_modules() if isinstance(m, LoraLayer))
        found: dict[str, Tensor] = get_peft_model_state_dict(
            self._module,
            adapter_name=_NAME,
            # Left to itself, peft asks the Hub for the config of the base, at every save.
            save_embedding_layers=any(n.rpartition(".")[2] in EMBEDDING_LAYER_NAMES for n in layers),
        )
        return found

    def save(self, directory: Path) -> None:
        """Writes what plain peft loads. Equal adapters write equal bytes: peft's own writer shuffles sets."""
        values = {**self._config.to_dict(), "inference_mode": True}
        plain = {n: sorted(v) if isinstance(v, set) else v for n, v in values.items()}
        text = json.dumps(plain, indent=2, sort_keys=True)
        (directory / _CONFIG).write_text(text + "\n", encoding="utf-8")
        named = {_PREFIX + n: t.detach().cpu().contiguous() for n, t in self.tensors().items()}
        save_file(named, directory / _WEIGHTS, metadata={"format": "pt"})

    @contextmanager
    def dropout(self) -> Iterator[None]:
        """Inside, adapters drop as much of their input as their config says; the mask is the global generator's."""
        dropouts = self._dropouts()
        for dropout in dropouts:
            dropout.p, dropout.training = self._config.lora_dropout, True
        try:
            yield
        finally:
            for dropout in dropouts:
                dropout.p, dropout.training = 0.0, self._module.training

    def _dropouts(self) -> list[nn.Dropout]:
        every: list[Any] = [m for m in self._module.modules() if hasattr(m, "lora_dropout")]
        return [d for m in every if isinstance(d := m.lora_dropout[_NAME], nn.Dropout)]


@torch.no_grad()
def merged(module: Any, dtype: torch.dtype) -> Any:
    """A copy of a model whose adapters are added to its weights, W + (alpha / r) B A; a 4-bit base is unpacked."""
    from peft.tuners.lora import LoraLayer
    from peft.utils.integrations import dequantize_module_weight

    made = copy.deepcopy(module).eval()
    is_quantized = getattr(made, "quantization_method", None) is not None
    layers = [(n, m) for n, m in made.named_modules() if isinstance(m, LoraLayer) or _is_packed(m)]
    for name, layer in layers:
        if ".base_layer" in name:
            continue
        base = layer.get_base_layer() if isinstance(layer, LoraLayer) else layer
        weight = dequantize_module_weight(base).float()
        if isinstance(layer, LoraLayer):
            weight = weight + layer.get_delta_weight(_NAME).float()
        made.set_submodule(name, _with_weight(base, weight.to(dtype)))
    for attribute in ("peft_config", *(_QUANTIZED if is_quantized else ())):
        if hasattr(made, attribute):
            delattr(made, attribute)
    if is_quantized:
        made.config.__dict__.pop("quantization_config", None)
    head = made.get_output_embeddings()
    if head is not None and head.weight is not made.get_input_embeddings().weight:
        made.config.tie_word_embeddings = False  # an adapter on one of the two has untied them
    return made


_QUANTIZED = ("hf_quantizer", "quantization_method", "is_quantized", "is_loaded_in_4bit")


def _with_weight(base: Any, weight: Tensor) -> nn.Module:
    """The layer itself with this weight; a plain linear layer where it was packed."""
    if not _is_packed(base):
        base.weight = nn.Parameter(weight)
        return base  # type: ignore[no-any-return]
    plain = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
    plain.weight = nn.Parameter(weight)
    if base.bias is not None:
        plain.bias = nn.Parameter(base.bias.to(weight.dtype))
    return plain


def _is_packed(module: nn.Module) -> bool:
    return type(getattr(module, "weight", None)).__name__ == "Params4bit"


def _check_is_plain(config: Any, directory: Path) -> None:
    """Other kinds change the base, train parts of it, or have no weights that could be merged."""
    odd = [n for n in ("use_dora", "modules_to_save", "trainable_token_indices", "alora_invocation_tokens")
           if getattr(config, n, None)]  # fmt: skip
    if str(config.peft_type).rpartition(".")[2] != "LORA" or odd or config.bias != "none":
        found = ", ".join([str(config.peft_type).rpartition(".")[2], *odd, f"bias={config.bias}"])
        raise ConfigError(
            f"the adapter {directory} is no plain LoRA (found {found}): merge it into its base first"
        )


def _check_base(directory: Path, theirs: str, ours: str, base: tuple[str, Held]) -> None:
    """By a sample of the weights where whet wrote the adapter over a base held as this one, else by the last part of
    the names: the same weights in other numbers are other bits.
    """
    file = directory / "policy.json"
    about = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    settings, recorded = about.get("settings", {}), about.get("base")
    if recorded == base[0]:
        return
    if recorded is not None and (settings.get("precision"), settings.get("quantization")) == base[1]:
        raise ConfigError(
            f"the adapter {directory} was trained on {theirs}, and {ours} holds other weights: bring back the model "
            "that it belongs to, or name it in policy.model"
        )
    if Path(theirs).name.lower() != Path(ours).name.lower():
        raise ConfigError(
            f"the adapter {directory} belongs to {theirs or 'a base that it does not name'}, and policy.model is "
            f"{ours}: set policy.model={theirs}; if both are one model, write {ours} into base_model_name_or_path of "
            f"{directory / _CONFIG}"
        )


def _check_shapes(ours: dict[str, Tensor], theirs: dict[str, Tensor], who: str, base: str) -> None:
    odd = sorted(ours.keys() ^ theirs.keys())
    odd += sorted(n for n in ours.keys() & theirs.keys() if ours[n].shape != theirs[n].shape)
    if odd:
        name = odd[0]
        shapes = [list(t[name].shape) if name in t else "nothing" for t in (theirs, ours)]
        raise ConfigError(
            f"{who} does not fit {base}: {name} is {shapes[0]} in the adapter, and {shapes[1]} is expected; "
            "name the base that it was trained on in policy.model"
        )


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"policy.lora: {name} cannot take these adapters: {' '.join(str(error).split())[:300]}"
        ) from error
