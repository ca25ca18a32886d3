"""Models to serve: a GPT over digits, and a scripted assistant that takes conversations."""

from types import SimpleNamespace

import peaked
from chat_tokenizers import CHATML, fast_tokenizer
from whet.config import PromptConfig, SamplingConfig
from whet.engines.native import Native
from whet.engines.scripted import Scripted
from whet.serving.served import Served
from whet.text.pretrained import PretrainedTokenizer
from whet.text.prompts import PromptEncoder

ANSWER = "It is 3."


def served_gpt(**changes) -> Served:
    """A GPT with a context of 32 tokens; completions of 8 unless a request says otherwise."""
    policy = peaked.policy()
    values = {
        "name": "sums",
        "policy": policy,
        "engine": Native().build(policy),
        "encoder": PromptEncoder(policy.tokenizer, PromptConfig()),
        "sampling": SamplingConfig(max_completion_length=8),
        "fingerprint": "fp_1",
    }
    return Served(**{**values, **changes})


def served_chat(answer: str = ANSWER) -> Served:
    """Says one thing to everything; its context is 256 tokens."""
    tokenizer = PretrainedTokenizer(fast_tokenizer(CHATML, None), (2,))
    policy = SimpleNamespace(tokenizer=tokenizer, version=0, context_length=256)
    return Served(
        name="assistant",
        policy=policy,
        engine=Scripted(default=(answer,)).build(policy),
        encoder=PromptEncoder(tokenizer, PromptConfig()),
        fingerprint="fp_2",
    )
