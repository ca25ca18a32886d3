"""Writes a tiny Hugging Face checkpoint with random weights: Qwen2, Qwen3 or Llama in shape, a millionth in size.

    python examples/tiny_checkpoint.py checkpoints/tiny_qwen2 --family qwen2

For trying out, offline and in seconds, whatever is meant for a real checkpoint: it has a byte-level BPE tokenizer
(digits are single tokens) trained on a few sums and word problems or on the lines of a file (--texts), the family's
form of a chat template, and a generation config that names the tokens which end a completion. The same arguments give
the same bytes.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)
from transformers.utils.logging import disable_progress_bar

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WITHOUT_THINKING = (
    "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")

# per family: config class, special tokens, chat template, first token, last token of a turn, last token of a text
FAMILIES: dict[str, tuple[type[PretrainedConfig], tuple[str, ...], str, str | None, str, str]] = {
    "qwen2": (Qwen2Config, QWEN, CHATML, None, "<|im_end|>", "<|endoftext|>"),
    "qwen3": (Qwen3Config, QWEN, CHATML + WITHOUT_THINKING, None, "<|im_end|>", "<|endoftext|>"),
    "llama": (LlamaConfig, LLAMA, HEADERS, "<|begin_of_text|>", "<|eot_id|>", "<|end_of_text|>"),
}


def own_texts() -> list[str]:
    """Sums and word problems in the manner of a reasoning data set."""
    sums = [f"{a}+{b}={a + b} {a * b}-{b}={a * b - b} {a}*{b}={a * b}" for a in range(9) for b in range(9)]
    stories = [
        f"{who} has {a} {what} and buys {b} more. How many {what} does {who} have in total? {who} starts with {a} and "
        f"gets {b}, so there are {a} + {b} = <<{a}+{b}={a + b}>>{a + b} {what}.\n#### {a + b}\n"
        "<reasoning>\nFirst we add, then we check.\n</reasoning>\n<answer>\n"
        for who in ("Ada", "Emil", "Mia", "Otto")
        for what, a, b in (("apples", 12, 7), ("books", 30, 15), ("tickets", 8, 96), ("eggs", 24, 6))
    ]
    return sums + stories


def train_tokenizer(texts: Iterable[str], family: str, vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE over the texts, with the special tokens and the chat template of the family."""
    _, special, template, bos, end_of_turn, end_of_text = FAMILIES[family]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    if bos is not None:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, bpe.token_to_id(bos))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=bos,
        eos_token=end_of_turn,  # as in instruction-tuned checkpoints of these families
        pad_token=end_of_text,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer


def write(directory: Path, family: str, texts: Iterable[str], seed: int, **sizes: int) -> None:
    """Writes model, tokenizer and generation config. sizes: vocab_size, width, layers, heads, context."""
    config_class, _, _, bos, end_of_turn, end_of_text = FAMILIES[family]
    tokenizer = train_tokenizer(texts, family, sizes["vocab_size"])
    ids = tokenizer.convert_tokens_to_ids
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": sizes["width"],
        "intermediate_size": 3 * sizes["width"],
        "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["heads"],
        "num_key_value_heads": max(1, sizes["heads"] // 2),
        "max_position_embeddings": sizes["context"],
        "tie_word_embeddings": family != "llama",
        "bos_token_id": ids(bos) if bos else None,
        "eos_token_id": ids(end_of_turn),
    }
    if family == "qwen3":
        settings["head_dim"] = sizes["width"] // sizes["heads"]
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config_class(**settings), dtype=torch.float32)
    model.generation_config = GenerationConfig(
        bos_token_id=settings["bos_token_id"],
        eos_token_id=[ids(end_of_turn), ids(end_of_text)],
        pad_token_id=ids(end_of_text),
        do_sample=True,
        temperature=0.7,
        top_p=0.8,
        top_k=20,
    )
    disable_progress_bar()
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def main() -> None:
    """Reads the command line and writes the checkpoint."""
    parser = argparse.ArgumentParser(description="Writes a tiny Hugging Face checkpoint with random weights.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--family", choices=sorted(FAMILIES), default="qwen2")
    parser.add_argument("--texts", type=Path, help="train the tokenizer on the lines of this file")
    parser.add_argument("--seed", type=int, default=0)
    sizes = {"vocab_size": 512, "width": 64, "layers": 2, "heads": 4, "context": 512}
    for name, default in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    given = vars(parser.parse_args())
    texts = given["texts"].read_text(encoding="utf-8").splitlines() if given["texts"] else own_texts()
    write(given["directory"], given["family"], texts, given["seed"], **{name: given[name] for name in sizes})
    print(f"{given['directory']}: {given['family']}, {given['layers']} layers of width {given['width']}")


if __name__ == "__main__":
    main()
