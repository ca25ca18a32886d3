"""The decoder's states against those of the transformers module whose layers it calls."""

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
)

import attended
import families
from whet.models.attention import causal
from whet.models.decoder import Decoder, is_known

FAMILIES = sorted(families.CONFIGS)
SCALINGS = {
    "linear": {"rope_type": "linear", "factor": 3.0},
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "yarn": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16},
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def ids_of(rows=3, tokens=40, vocab=97):
    return torch.randint(0, vocab, (rows, tokens), generator=torch.Generator().manual_seed(0))


def ours(module, ids):
    """Hidden states of whole rows."""
    decoder = Decoder(module)
    decoder.reserve(ids.shape[1])
    return decoder(ids, torch.arange(ids.shape[1]).expand_as(ids), causal)


def theirs(module, ids):
    return module.model(input_ids=ids, use_cache=False).last_hidden_state


def close(found, expected):
    """Equal to 1e-5 of the largest number."""
    assert expected.abs().mean() > 0.3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_logits_are_those_of_the_module(family, tied):
    module, ids = families.model(family, tie_word_embeddings=tied), ids_of()
    states = ours(module, ids)
    close(states, theirs(module, ids))
    close(Decoder(module).logits(states), module(input_ids=ids).logits)
    assert (module.lm_head.weight is module.model.embed_tokens.weight) == tied


@pytest.mark.parametrize("language", ["in C", "in torch"])
@pytest.mark.parametrize("frozen", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize("adapters", [False, True], ids=["plain", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_one_by_one_have_the_states_of_the_whole_row(family, adapters, frozen, language, monkeypatch):
    attended.steps_in(language, monkeypatch)
    module, ids = families.model(family), ids_of(rows=4, tokens=30)
    module = families.with_adapters(module) if adapters else module
    ids[2, :9] = ids[0, :9]  # samples of one prompt
    whole, row = theirs(module, ids), torch.arange(4)
    for states, at in attended.one_by_one(Decoder(module, frozen), ids, [0, 1, 0, 2], [9, 12, 1]):
        close(states, whole[row, at])


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_act_as_in_the_module(family):
    ids, targets = ids_of(), (*families.LINEAR, "embed_tokens", "lm_head")
    plain = theirs(families.model(family), ids)
    module = families.with_adapters(families.model(family), targets)
    states = ours(module, ids)
    close(states, theirs(module, ids))
    close(Decoder(module).logits(states), module(input_ids=ids).logits)
    assert (states - plain).abs().max() > 0.1


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("language", ["in C", "in torch"])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_scaled_rotary_angles_are_those_of_the_module(scaling, language, monkeypatch):
    attended.steps_in(language, monkeypatch)
    module, ids = families.model("llama", rope_scaling=SCALINGS[scaling]), ids_of()
    whole = theirs(module, ids)
    close(ours(module, ids), whole)
    for states, at in attended.one_by_one(Decoder(module), ids, [0, 1, 2], [5, 20, 9]):
        close(states, whole[torch.arange(3), at])
    assert (whole - theirs(families.model("llama"), ids)).abs().max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bf16_states_are_as_near_to_float32_as_the_modules_own(family):
    module, ids = families.model(family).bfloat16(), ids_of()
    exact = theirs(module.float(), ids)
    own = theirs(module.bfloat16(), ids)
    stepped, places = zip(*attended.one_by_one(Decoder(module), ids, [0, 1, 2], [10, 12, 14]), strict=True)
    at = torch.arange(3).expand(len(places), 3), torch.stack(places)
    found, steps = ours(module, ids), torch.stack(stepped)
    assert found.dtype == steps.dtype == torch.bfloat16
    of_module = error(own, exact)
    assert 0.002 < of_module < 0.05
    assert error(found, exact) < 1.1 * of_module
    assert error(steps, exact[at]) < 1.1 * error(own[at], exact[at])


def error(found, exact):
    return (found.float() - exact).square().mean().sqrt().item()


def test_a_layer_with_biases_everywhere_is_called_with_them():
    module, ids = families.model("llama", attention_bias=True, mlp_bias=True), ids_of()
    assert module.model.layers[0].mlp.down_proj.bias.abs().mean() > 0.05
    close(ours(module, ids), theirs(module, ids))


def test_weights_that_change_are_seen_by_a_decoder_that_is_there_already():
    module, ids = families.model("qwen2"), ids_of()
    decoder = Decoder(module)
    decoder.reserve(40)
    positions = torch.arange(40).expand_as(ids)
    before = decoder(ids, positions, causal)
    families.disturb(module, 0.1, seed=5)
    close(decoder(ids, positions, causal), theirs(module, ids))
    assert (before - theirs(module, ids)).abs().max() > 0.1


def test_a_hook_on_a_linear_layer_acts():
    module, ids = families.model("llama"), ids_of()
    plain = theirs(module, ids)
    module.model.layers[0].mlp.up_proj.register_forward_hook(lambda _, args, out: out * 1.5)
    close(ours(module, ids), theirs(module, ids))
    assert (plain - theirs(module, ids)).abs().max() > 0.1


def test_positions_may_be_reserved_in_parts():
    module, ids = families.model("llama"), ids_of()
    decoder = Decoder(module)
    for length in (7, 40, 3):
        decoder.reserve(length)
    close(decoder(ids, torch.arange(40).expand_as(ids), causal), theirs(module, ids))


def test_a_cache_keeps_the_heads_of_keys_at_their_own_size():
    sizes = Decoder(families.model("qwen3", num_hidden_layers=3)).sizes
    assert (sizes.num_layers, sizes.kv_heads, sizes.head_size) == (3, 2, 32)  # not 64 / 4
    assert sizes.dtype == torch.float32


# --- which modules it runs ---


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("scaling", [None, *SCALINGS])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_families_are_known_with_every_rotary_embedding_of_fixed_angles(family, scaling):
    assert is_known(families.model(family, rope_scaling=SCALINGS.get(scaling)))


def test_adapters_leave_a_module_known():
    assert is_known(families.with_adapters(families.model("qwen2")))


SMALL = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: MistralForCausalLM(MistralConfig(**SMALL)),
        lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8)),
        lambda: GPT2LMHeadModel(GPT2Config(vocab_size=97, n_embd=32, n_layer=1, n_head=4)),
        lambda: LlamaForSequenceClassification(families.CONFIGS["llama"](**SMALL)),
        lambda: torch.nn.Linear(2, 2),
    ],
    ids=["mistral", "gemma2", "gpt2", "classifier", "linear"],
)
def test_another_architecture_is_not_known(make):
    assert not is_known(make())


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
@pytest.mark.parametrize("from_layer", [0, 1])
def test_a_layer_with_a_sliding_window_makes_a_module_unknown(family, from_layer):
    window = {"sliding_window": 8, "max_window_layers": from_layer}
    assert not is_known(families.model(family, use_sliding_window=True, **window))
    assert is_known(families.model(family, use_sliding_window=False, **window))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "dynamic", "factor": 2.0},
        {
            "rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ],
    ids=["dynamic", "longrope"],
)  # fmt: skip
def test_angles_that_depend_on_the_length_of_a_row_make_a_module_unknown(scaling):
    assert not is_known(families.model("llama", rope_scaling=scaling))


@pytest.mark.parametrize("family", FAMILIES)
def test_another_activation_makes_a_module_unknown(family):
    assert not is_known(families.model(family, hidden_act="gelu"))
