"""Linear layers in C against torch's, and when they are left to torch."""

import pytest
import torch
from torch import nn

from whet import compiled
from whet.models import packed_linear
from whet.models.packed_linear import MOST_ROWS, PackedLinears

pytestmark = pytest.mark.skipif(compiled.load("linear.c") is None, reason="this machine has no C compiler")


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def layer(depth, columns, bias=True):
    torch.manual_seed(depth + columns)
    return nn.Linear(depth, columns, bias=bias)


def calls(monkeypatch):
    """Counts the products in C."""
    found, real = [], packed_linear._library()

    class Spy:
        linear_pack = real.linear_pack

        @staticmethod
        def linear(*arguments):
            found.append(arguments)
            real.linear(*arguments)

    monkeypatch.setattr(packed_linear, "_library", lambda: Spy)
    return found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 8, 31, 64])
@pytest.mark.parametrize(("depth", "columns"), [(512, 8), (1037, 24), (64, 1032), (1, 40)])
def test_the_product_is_that_of_double_precision(rows, depth, columns, bias, monkeypatch):
    seen = calls(monkeypatch)
    module, x = layer(depth, columns, bias), torch.randn(rows, 1, depth)
    found, expected = PackedLinears()(module, x), module.double()(x.double())
    assert len(seen) == 1
    assert found.shape == (rows, 1, columns)
    assert (found - expected).abs().max() < 2e-6


def test_the_bits_of_a_row_do_not_depend_on_the_others_nor_on_threads():
    module, x = layer(1288, 200), torch.randn(64, 1288)
    whole, before = PackedLinears()(module, x), torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for some in (slice(0, 1), slice(5, 10), slice(30, 37), slice(62, 64)):
                assert torch.equal(PackedLinears()(module, x[some]), whole[some])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("module", "rows"),
    [(layer(8, 16), MOST_ROWS + 1), (layer(64, 63), 2), (nn.Identity(), 2)],
    ids=["many rows", "odd columns", "another module"],
)
def test_other_products_are_left_to_torch(module, rows, monkeypatch):
    seen = calls(monkeypatch)
    x = torch.randn(rows, getattr(module, "in_features", 8))
    assert torch.equal(PackedLinears()(module, x), module(x))
    assert seen == []


def test_a_layer_with_a_hook_is_called():
    module, heard = layer(512, 256), []
    module.register_forward_hook(lambda *_: heard.append(1))
    PackedLinears()(module, torch.randn(2, 512))
    assert heard == [1]


def test_weights_are_those_of_the_first_call():
    """Who keeps layers across an update would sample from the policy before it: an engine makes them anew."""
    module, x, kept = layer(64, 32), torch.randn(2, 64), PackedLinears()
    before = kept(module, x)
    module.weight.data.mul_(2)
    assert torch.equal(kept(module, x), before)
    assert not torch.equal(PackedLinears()(module, x), before)


def test_without_a_compiler_torch_does_it(monkeypatch):
    monkeypatch.setattr(packed_linear, "_library", lambda: None)
    module, x = layer(512, 256), torch.randn(2, 512)
    assert torch.equal(PackedLinears()(module, x), module(x))


def test_no_more_is_copied_than_the_limit(monkeypatch):
    seen = calls(monkeypatch)
    monkeypatch.setattr(packed_linear, "MOST_BYTES", 2 * 64 * 32 * 4)
    kept, layers = PackedLinears(), [nn.Linear(64, 32) for _ in range(3)]
    for module in (*layers, *layers):
        x = torch.randn(2, 64)
        assert torch.allclose(kept(module, x), module(x), atol=1e-6)
    assert len(seen) == 4


def test_weights_of_16_bits_are_left_to_torch(monkeypatch):
    seen, module = calls(monkeypatch), layer(64, 64).bfloat16()
    x = torch.randn(3, 64).bfloat16()
    assert torch.equal(PackedLinears()(module, x), module(x))
    assert seen == []
