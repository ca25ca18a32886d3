"""Tiny Llama, Qwen2 and Qwen3 of transformers, random in every parameter, with more heads of queries than of keys."""

from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

CONFIGS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def model(family: str, **settings: Any) -> Any:
    """Weights large enough that every token matters to every later one, biases and gains included.

    Qwen3's heads are not as wide as the model divided by their number.
    """
    sizes = {
        "vocab_size": 97, "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 128, "tie_word_embeddings": False,
    }  # fmt: skip
    if family == "qwen3":
        sizes["head_dim"] = 32
    with torch.random.fork_rng(devices=[]):
        made = AutoModelForCausalLM.from_config(CONFIGS[family](**sizes | settings), dtype=torch.float32)
    return disturb(made.eval(), 0.15)


def disturb(module: Any, scale: float, seed: int = 0) -> Any:
    """Adds noise to every parameter, in place."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * scale)
    return module


def with_adapters(module: Any, targets: tuple[str, ...] = LINEAR, scale: float = 0.2) -> Any:
    """The module with LoRA layers put in, both of their matrices away from zero."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(targets))
    adapted = inject_adapter_in_model(config, module).eval()
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=noise) * scale)
    return adapted
