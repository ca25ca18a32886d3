"""Our GPT against Hugging Face's GPT-2, there and back."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from whet.models.gpt import GPT, GPTConfig
from whet.models.gpt2_layout import copy_to_gpt2, from_gpt2, to_gpt2

IDS = torch.randint(0, 61, (4, 30), generator=torch.Generator().manual_seed(0))


def logits_of(model):
    with torch.no_grad():
        return model.logits(model(IDS))


def logits_of_twin(twin):
    with torch.no_grad():
        return twin(input_ids=IDS).logits


def perturb(module, seed=5):
    """Every parameter random, biases and gains too: nothing is left that a mistake could hide behind."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.1)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


@pytest.fixture
def ours():
    model = GPT(GPTConfig(vocab_size=61, context_length=40, num_layers=3, num_heads=4, width=48))
    perturb(model)
    return model


@pytest.fixture
def theirs():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=61, n_positions=40, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    twin = GPT2LMHeadModel(config).eval()
    perturb(twin)
    return twin


def test_the_logits_of_our_weights_are_those_of_transformers(ours):
    assert logits_of(ours).std() > 0.3  # there is something to compare
    close(logits_of_twin(to_gpt2(ours, 0)), logits_of(ours))


def test_the_logits_of_their_weights_are_ours(theirs):
    assert logits_of_twin(theirs).std() > 0.3
    close(logits_of(from_gpt2(theirs)), logits_of_twin(theirs))


def test_there_and_back_is_the_same_to_the_bit(ours):
    back = from_gpt2(to_gpt2(ours, 0)).state_dict()
    assert all(torch.equal(value, back[name]) for name, value in ours.state_dict().items())


def test_what_transformers_saves_and_loads_is_still_ours(ours, tmp_path):
    to_gpt2(ours, 7).save_pretrained(tmp_path)
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert loaded.config.eos_token_id == 7
    close(logits_of_twin(loaded), logits_of(ours))


def test_the_twin_is_a_copy_that_takes_new_weights_over(ours):
    twin = to_gpt2(ours, 0)
    before = logits_of_twin(twin)
    perturb(ours, seed=6)
    assert torch.equal(logits_of_twin(twin), before)
    copy_to_gpt2(ours, twin)
    close(logits_of_twin(twin), logits_of(ours))


def test_making_the_twin_leaves_the_global_generator_alone(ours):
    before = torch.get_rng_state()
    to_gpt2(ours, 0)
    assert torch.equal(torch.get_rng_state(), before)
