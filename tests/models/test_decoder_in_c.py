"""A decode step in one call in C: for which layers, and the same whatever stands around a row."""

import pytest
import torch
from torch import nn

import attended
import families
from whet.models import decode_step, packed_linear
from whet.models.decoder import Decoder
from whet.models.frozen_gpt import FrozenGPT
from whet.models.gpt import GPT, GPTConfig
from whet.models.packed_linear import MOST_ROWS

KINDS = ("gpt", *families.CONFIGS)


@pytest.fixture(autouse=True)
def in_c(monkeypatch):
    attended.steps_in("in C", monkeypatch)
    with torch.inference_mode():
        yield


@pytest.fixture
def calls(monkeypatch):
    """The names of the functions in C that a step has called."""
    names, real = [], decode_step.library()

    class Spy:
        def __getattr__(self, name):
            names.append(name)
            return getattr(real, name)

    monkeypatch.setattr(decode_step, "library", Spy)
    return names


def gpt(width=64):
    sizes = GPTConfig(vocab_size=96, context_length=64, num_layers=2, num_heads=4, width=width)
    return families.disturb(GPT(sizes), 0.15)


def decoder(kind, module=None):
    if kind == "gpt":
        return FrozenGPT(module or gpt())
    return Decoder(module or families.model(kind), frozen=True)


def ids_of(rows=4, tokens=20):
    return torch.randint(0, 96, (rows, tokens), generator=torch.Generator().manual_seed(0))


def states(decoder, ids, prompts=None):
    """Of each row its tokens after a prompt of 9, 5 or 1, `[n, steps, D]`."""
    prompts = [i % 3 for i in range(len(ids))] if prompts is None else prompts
    lengths = [9, 5, 1][: max(prompts) + 1]
    found = [x.clone() for x, _ in attended.one_by_one(decoder, ids, prompts, lengths)]
    return torch.stack(found, 1)


def same_prompts(ids):
    """The same ids with one prompt for rows i and i + 3."""
    for row in range(3, len(ids)):
        ids[row, :9] = ids[row % 3, :9]
    return ids


@pytest.mark.parametrize("width", [64, 96])
def test_a_gpts_tokens_one_by_one_have_the_states_of_the_whole_row(width, calls):
    module, ids = gpt(width), same_prompts(ids_of())
    whole = module(ids)
    for found, at in attended.one_by_one(FrozenGPT(module), ids, [0, 1, 2, 0], [9, 5, 1]):
        expected = whole[torch.arange(4), at]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    assert set(calls) == {"decode"}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_layer_norm_far_from_zero_is_that_of_double_precision(scale):
    """Its variance is of what is left without the mean, not a difference of two large numbers."""
    module = gpt()
    module.wpe.weight.add_(30.0)
    for part in (module.wte, module.wpe):
        part.weight.mul_(scale)
    ids = ids_of()
    expected = module.double()(ids)[:, 9:]
    found = states(FrozenGPT(module.float()), ids[:1], [0])
    assert (found - expected[:1]).abs().max() < 2e-5 * expected.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_one_call(kind, calls):
    found = states(decoder(kind), same_prompts(ids_of()))
    assert calls.count("decode") == found.shape[1]
    assert "decode_attention" not in calls


@pytest.mark.parametrize("kind", KINDS)
def test_two_and_three_threads_give_the_bits_of_one(kind, monkeypatch):
    """Of a step; torch's own threads, which the prompts are computed on, stay as many as they are."""
    ids, found = same_prompts(ids_of(rows=40)), []
    for count in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        found.append(states(decoder(kind), ids))
    assert torch.equal(found[1], found[0])
    assert torch.equal(found[2], found[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_of_a_row_do_not_depend_on_the_others(kind):
    made, ids = decoder(kind), same_prompts(ids_of(rows=23))
    together = states(made, ids, [i % 3 for i in range(23)])
    for row in (0, 3, 21):
        assert torch.equal(states(made, ids[row : row + 1], [0]), together[row : row + 1])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_the_first_call(kind):
    """Who keeps a decoder across an update would sample from the policy before it: an engine makes it anew."""
    module = gpt() if kind == "gpt" else families.model(kind)
    made, ids = decoder(kind, module), ids_of(rows=1)
    before = states(made, ids)
    for parameter in module.parameters():
        if parameter.dim() == 2 and len(parameter) not in (96, 97):
            parameter.mul_(1.5)
    assert not torch.equal(states(decoder(kind, module), ids)[:, 1:], before[:, 1:])


@pytest.mark.parametrize("kind", families.CONFIGS)
def test_a_layer_with_adapters_or_a_hook_is_called_as_the_module_that_it_is(kind, calls):
    ids, heard = ids_of(rows=1), []
    for module in (families.with_adapters(families.model(kind), ("q_proj",)), families.model(kind)):
        module.model.layers[0].mlp.down_proj.register_forward_hook(lambda *_: heard.append(1))
        calls.clear()
        found = states(decoder(kind, module), ids)
        assert "decode" not in calls
        assert len(heard) >= found.shape[1]
        heard.clear()


def test_many_rows_are_left_to_products_of_a_library(calls):
    made, ids = decoder("gpt"), ids_of(rows=1, tokens=12).expand(MOST_ROWS + 1, 12)
    found = states(made, ids, [0] * len(ids))
    assert "decode" not in calls
    calls.clear()
    few = states(made, ids[:2], [0, 0])
    assert calls == ["decode"] * few.shape[1]
    torch.testing.assert_close(found[:2], few, rtol=0, atol=1e-5 * few.abs().max().item())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_much_to_copy_is_not_copied(kind, calls, monkeypatch):
    expected, ids = states(decoder(kind), ids_of(rows=2), [0, 0]), ids_of(rows=2)
    calls.clear()
    monkeypatch.setattr(packed_linear, "MOST_BYTES", 4 * 64 * 64)
    found = states(decoder(kind), ids, [0, 0])
    assert "decode" not in calls
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_a_gpt_of_odd_sizes_is_left_to_torch(calls):
    sizes = GPTConfig(vocab_size=96, context_length=64, num_layers=2, num_heads=3, width=36)
    module, ids = families.disturb(GPT(sizes), 0.15), ids_of(rows=1)
    found = states(FrozenGPT(module), ids)
    assert calls == []
    torch.testing.assert_close(found, module(ids)[:, 9:], rtol=0, atol=1e-5)


def test_logits_are_those_of_the_tied_head():
    for size in (96, 97):
        module = GPT(GPTConfig(vocab_size=size, context_length=64, num_layers=1, num_heads=4, width=64))
        hidden = torch.randn(5, 64)
        torch.testing.assert_close(FrozenGPT(module).logits(hidden), module.logits(hidden), rtol=0, atol=1e-6)


def test_several_layers_on_one_input_are_joined_as_they_stand():
    first, second = nn.Linear(64, 24, bias=False), nn.Linear(64, 16)
    joined = packed_linear.PackedLinears().joined((first, second))
    assert (joined.columns, joined.depth) == (40, 64)
    torch.testing.assert_close(joined.bias, torch.cat((torch.zeros(24), second.bias)))


def test_memory_is_of_the_states_type_whatever_torchs_default_is():
    module, ids = gpt(), same_prompts(ids_of())
    expected = states(FrozenGPT(module), ids)
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = states(FrozenGPT(module), ids)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
