"""A policy from nothing: made from its seed, seen through a batch, saved and loaded."""

import dataclasses
import math

import pytest
import torch

import tiny
from tables import draw
from whet.policies.from_scratch import FromScratch
from whet.registry import PluginProblems, build

CPU = torch.device("cpu")


def weights(policy):
    return torch.nn.utils.parameters_to_vector(policy.module.parameters())


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    assert torch.equal(weights(tiny.policy(seed=4)), weights(tiny.policy(seed=4)))
    assert not torch.equal(weights(tiny.policy(seed=4)), weights(tiny.policy(seed=5)))


def test_building_and_loading_neither_read_nor_move_the_global_generator(tmp_path):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = tiny.policy()
    first.save(tmp_path)
    FromScratch.load(tmp_path, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(weights(tiny.policy()), weights(first))


def test_a_loaded_policy_is_the_saved_one(tmp_path):
    policy = tiny.policy(seed=1, width=8, layers=2, context=12)
    policy.save(tmp_path)
    loaded = FromScratch.load(tmp_path, CPU)
    assert torch.equal(weights(loaded), weights(policy))
    assert loaded.context_length == 12
    assert loaded.tokenizer.encode("ab=c") == policy.tokenizer.encode("ab=c")


def test_weights_of_16_bits_are_saved_and_loaded_as_such(tmp_path):
    sizes = FromScratch(num_layers=1, num_heads=2, width=8, context_length=12, precision="bf16")
    policy = sizes.build(["abc"], 0, CPU)
    policy.save(tmp_path)
    loaded = FromScratch.load(tmp_path, CPU)
    assert weights(loaded).dtype == torch.bfloat16
    assert torch.equal(weights(loaded), weights(policy))


def test_equal_policies_write_byte_equal_files(tmp_path):
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tiny.policy(seed=2).save(tmp_path / name)
        files.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert files[0] == files[1]
    assert set(files[0]) == {"policy.json", "model.safetensors", "tokenizer.json"}


@torch.no_grad()
def test_forward_says_what_the_whole_softmax_says_token_by_token():
    policy = tiny.policy(width=8, layers=2)
    batch = draw(["..xx", ".xxxxx"], [1.0, 0.0], [0, 0])
    batch = dataclasses.replace(batch, token_ids=batch.token_ids % policy.tokenizer.vocab_size)
    found = policy.forward(batch)
    for row, length in enumerate((4, 6)):
        ids = batch.token_ids[row, :length].tolist()
        for t in range(length):
            if batch.loss_mask[row, t]:
                logits = policy.module.logits(policy.module(torch.tensor([ids[:t]])))[0, -1].double()
                p = logits.softmax(-1)
                assert found.logprobs[row, t].item() == pytest.approx(math.log(p[ids[t]]), abs=1e-5)
                entropy = -(p * p.log()).sum().item()
                assert found.entropy[row, t].item() == pytest.approx(entropy, abs=1e-5)


def test_the_width_must_be_a_multiple_of_the_heads():
    with pytest.raises(PluginProblems) as caught:
        build("policies", {"name": "from_scratch", "width": 10, "num_heads": 4})
    assert "width 10 must be a multiple of num_heads 4" in str(caught.value.errors)
