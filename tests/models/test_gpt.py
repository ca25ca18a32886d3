"""The GPT's weights at birth, and what a position can see."""

import pytest
import torch

from whet.models.gpt import GPT, GPTConfig


def gpt(seed=0, **sizes):
    default = {"vocab_size": 50, "context_length": 24, "num_layers": 3, "num_heads": 4, "width": 32}
    return GPT(GPTConfig(**default | sizes), seed)


@pytest.fixture(scope="module")
def wide():
    """As wide as GPT-2 small, so that the stds are estimated from many numbers."""
    return dict(
        gpt(num_layers=2, num_heads=12, width=768, vocab_size=1000, context_length=500).named_parameters()
    )


def std(parameter):
    return parameter.detach().double().std().item()


def test_at_gpt2s_width_embeddings_and_projections_have_its_std(wide):
    for name in ("wte.weight", "wpe.weight", "h.0.attn.c_attn.weight", "h.1.mlp.c_fc.weight"):
        assert std(wide[name]) == pytest.approx(0.02, rel=0.01), name


def test_projections_into_the_residual_stream_are_smaller_by_the_root_of_their_number(wide):
    # 2 layers have 4 of them: 0.02 / sqrt(4)
    for name in ("h.0.attn.c_proj.weight", "h.1.attn.c_proj.weight", "h.0.mlp.c_proj.weight"):
        assert std(wide[name]) == pytest.approx(0.01, rel=0.01), name


def test_a_narrow_model_has_wider_projections_and_the_same_embeddings():
    # D = 192: 0.02 * sqrt(768 / 192) = 0.04
    narrow = dict(gpt(width=192, num_layers=8, vocab_size=1000).named_parameters())
    assert std(narrow["wte.weight"]) == pytest.approx(0.02, rel=0.02)
    assert std(narrow["h.0.mlp.c_fc.weight"]) == pytest.approx(0.04, rel=0.02)
    assert std(narrow["h.0.mlp.c_proj.weight"]) == pytest.approx(0.01, rel=0.02)  # 0.04 / sqrt(16)


def test_biases_are_zero_and_gains_are_one(wide):
    for name, parameter in wide.items():
        if parameter.dim() == 1:
            assert (parameter == (0.0 if name.endswith("bias") else 1.0)).all(), name


def test_the_head_is_the_embedding():
    model = gpt()
    hidden = torch.zeros(32)
    hidden[5] = 1.0
    assert torch.equal(model.logits(hidden), model.wte.weight[:, 5])
    assert not any("head" in name for name, _ in model.named_parameters())


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    weights = [torch.nn.utils.parameters_to_vector(gpt(seed).parameters()) for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).float().mean() > 0.9


def test_neither_reads_nor_moves_the_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = gpt()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(first.wte.weight, gpt().wte.weight)


@pytest.fixture(scope="module")
def model():
    """With weights large enough that every token matters to every later one."""
    model = gpt()
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.2)
    return model.requires_grad_(False)


IDS = torch.arange(20)[None] * 7 % 50


@pytest.mark.parametrize("at", [1, 9, 19])
def test_a_token_changes_its_own_state_and_later_ones_and_no_bit_of_an_earlier_one(model, at):
    changed = IDS.clone()
    changed[0, at] = 49
    before, after = model(IDS), model(changed)
    assert torch.equal(before[:, :at], after[:, :at])
    assert ((before - after)[0, at:].abs().amax(-1) > 1e-3).all()


def test_right_padding_changes_nothing_for_real_tokens(model):
    padded = torch.cat([IDS[:, :12], torch.full((1, 8), 3)], dim=1)
    torch.testing.assert_close(model(padded)[:, :12], model(IDS[:, :12]), rtol=0, atol=1e-5)


def test_positions_count(model):
    same_token = torch.full((1, 4), 7)
    hidden = model(same_token)
    assert (hidden[0, 1:] - hidden[0, :1]).abs().amax(-1).min() > 1e-3
