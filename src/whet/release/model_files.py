"""The files of a policy as transformers and peft load them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from whet.errors import ConfigError
from whet.interfaces import Policy
from whet.models.gpt import GPT
from whet.models.gpt2_layout import to_gpt2
from whet.runs.policy import has_adapter
from whet.text.tokenizers import EOS

_TEMPLATE = "chat_template.jinja"
_TOKENIZER = "tokenizer_config.json"


def write_model(policy: Policy, directory: Path, template: str | None = None) -> None:
    """Writes weights, config, generation config and tokenizer; adapters are folded in, and 4 bits unpacked.

    template: the chat template of the training, where it was not the tokenizer's own.
    """
    if isinstance(policy.module, GPT):
        _write_gpt2(policy, policy.module, directory)
        return
    model: Any = cast(Any, policy).merged() if has_adapter(policy) else policy.module
    model.save_pretrained(directory)
    _write_tokenizer(policy, directory, template)


def write_adapter(policy: Policy, directory: Path, template: str | None = None) -> None:
    """Writes the adapter alone, as plain peft loads it, beside the tokenizer. Raises `ConfigError` without one."""
    if not has_adapter(policy):
        raise ConfigError("the policy has no adapter: its whole model was trained. Take it with --format hf")
    policy.save(directory)
    _write_tokenizer(policy, directory, template)


def _write_tokenizer(policy: Policy, directory: Path, template: str | None) -> None:
    policy.tokenizer.save(directory)
    if template is not None:
        (directory / _TEMPLATE).write_text(template, encoding="utf-8")
        config = json.loads((directory / _TOKENIZER).read_text(encoding="utf-8"))
        config.pop("chat_template", None)  # older versions write it here, where it would come first
        _write_json(directory / _TOKENIZER, config)


def _write_gpt2(policy: Policy, module: GPT, directory: Path) -> None:
    """A from-scratch GPT is a GPT-2; `tokenizer.json` needs a word on how to read it."""
    twin: Any = to_gpt2(module, policy.tokenizer.eos_id)
    twin.save_pretrained(directory)
    policy.tokenizer.save(directory)
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": EOS,
        "bos_token": EOS,
        "pad_token": EOS,
        "clean_up_tokenization_spaces": False,
        "model_max_length": policy.context_length,
        "split_special_tokens": True,  # a text that names the end-of-text token does not end
    }
    _write_json(directory / _TOKENIZER, about)


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
