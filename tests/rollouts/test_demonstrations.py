"""Demonstrations as rollouts: a prompt as it is sent, then what is imitated up to the token that ends it."""

from types import SimpleNamespace

from chat_tokenizers import CHATML, fast_tokenizer
from whet.config import PromptConfig
from whet.rollouts.demonstrations import demonstrations
from whet.text.pretrained import PretrainedTokenizer
from whet.text.prompts import PromptEncoder
from whet.types import Example


def test_a_demonstration_in_a_conversation_ends_as_the_template_ends_an_answer():
    tokenizer = PretrainedTokenizer(fast_tokenizer(CHATML), [2])
    assert tokenizer.eos_id == 0
    policy = SimpleNamespace(tokenizer=tokenizer, context_length=100, version=0)
    example = Example(id="0", prompt="1+1=", demonstration="2")
    (rollout,) = demonstrations(policy, PromptEncoder(tokenizer, PromptConfig()), [example])
    assert tokenizer.spell(rollout.token_ids) == (
        "<|im_start|>user\n1+1=<|im_end|>\n<|im_start|>assistant\n2<|im_end|>"
    )
    trained = [i for i, is_trained in zip(rollout.token_ids, rollout.loss_mask, strict=True) if is_trained]
    assert trained == [*tokenizer.encode("2"), 2]
