"""A prompt that is too long is refused with the setting that helps."""

import pytest

import peaked
from whet.config import PromptConfig, SamplingConfig
from whet.errors import DataError
from whet.rollouts.collect import check_prompts
from whet.text.prompts import PromptEncoder
from whet.types import Example


@pytest.mark.parametrize(
    ("prompt", "completion", "context", "said"),
    [
        (2, 8, 32, "2 are allowed.*leaves 24. Raise sampling.max_prompt_length, or leave"),
        (
            99,
            30,
            32,
            "2 are allowed.*Lower sampling.max_completion_length, take a policy with a longer context, or",
        ),
        (99, 4000, 32, "0 are allowed.*leaves 0. Lower sampling.max_completion_length"),
    ],
)
def test_the_limit_that_binds_is_the_one_to_change(
    prompt: int, completion: int, context: int, said: str
) -> None:
    policy = peaked.policy()
    encode = PromptEncoder(policy.tokenizer, PromptConfig())
    text = policy.tokenizer.decode(list(peaked.requests(policy)[0].prompt_ids)[:3])
    sampling = SamplingConfig(max_prompt_length=prompt, max_completion_length=completion)
    with pytest.raises(DataError, match=f"the prompt of long has 3 tokens and {said}"):
        check_prompts([Example(id="long", prompt=text)], encode, sampling, context)
