"""A fast tokenizer as a pretrained model brings one, and chat templates in the families' published forms."""

from functools import cache
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
"""Ids 0 to 6, in this order."""

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen2.5's form, without its default system message."""

QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content.split('</think>')[-1] | trim if m.role == 'assistant' else m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""Drops what earlier answers thought, and closes the thinking before it begins when told to."""

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
"""Trims what is said and writes the first token itself."""

GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{{ m.content | trim }}<|im_end|>{% endfor %}"
)
"""Refuses a system message."""


@cache
def _bpe() -> str:
    """A byte-level BPE that spells everything and normalises as Qwen's does."""
    from tokenizers import normalizers

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["system user assistant What is 1 + 2 ? Answer with a number ."] * 2, trainer)
    bpe.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    text: str = bpe.to_str()
    return text


def fast_tokenizer(template: str | None = CHATML, bos: str | None = None, **settings: Any) -> Any:
    """A transformers tokenizer; with `bos` it puts that before every text, as Llama's does."""
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer.from_str(_bpe())
    if bos is not None:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, bpe.token_to_id(bos))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, **{"bos_token": bos, "eos_token": "<|endoftext|>", **settings}
    )
    tokenizer.chat_template = template
    return tokenizer
