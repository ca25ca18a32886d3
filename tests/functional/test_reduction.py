import math

import pytest
import torch

from whet.functional.reduction import loss_weights

# Two rows of 1 and 3 trained tokens, with losses 1 and 2 per token.
MASK = torch.tensor([[False, True, False, False], [True, True, True, False]])
LOSS = torch.tensor([[9.0, 1.0, 9.0, 9.0], [2.0, 2.0, 2.0, 9.0]], dtype=torch.float64)


def weights(mask, reduction, n=2, tokens=4, length=16):
    return loss_weights(mask, reduction, n, tokens, length, dtype=torch.float64)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("sequence_mean", 1.5),  # (1 + 2) / 2
        ("token_mean", 1.75),  # (1 + 3 * 2) / 4
        ("constant", 0.21875),  # 7 / (2 * 16)
    ],
)
def test_the_three_reductions_by_hand(reduction, expected):
    assert (weights(MASK, reduction) * LOSS).sum().item() == pytest.approx(expected, abs=1e-15)


def test_the_weights_of_each_token_by_hand():
    expected = [[0, 1 / 2, 0, 0], [1 / 6, 1 / 6, 1 / 6, 0]]  # 1 / (2 * 1) and 1 / (2 * 3)
    torch.testing.assert_close(weights(MASK, "sequence_mean"), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean", "constant"])
def test_part_of_the_rows_has_the_same_weights_as_inside_the_whole(reduction):
    whole = weights(MASK, reduction)
    assert torch.equal(weights(MASK[1:, :3], reduction), whole[1:, :3])


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean", "constant"])
def test_an_empty_row_has_weight_zero_and_an_empty_update_no_nan(reduction):
    empty = torch.zeros(2, 3, dtype=torch.bool)
    assert torch.equal(weights(empty, reduction, tokens=0), torch.zeros(2, 3, dtype=torch.float64))


def test_a_masked_row_counts_as_a_sequence_and_not_as_a_token():
    mask = torch.cat([MASK, torch.zeros(1, 4, dtype=torch.bool)])
    loss = torch.cat([LOSS, LOSS[:1]])
    assert (weights(mask, "sequence_mean", n=3) * loss).sum().item() == pytest.approx(
        1.0, abs=1e-15
    )  # (1 + 2 + 0) / 3
    assert (weights(mask, "token_mean", n=3) * loss).sum() == 1.75
    assert math.isclose((weights(mask, "constant", n=3) * loss).sum(), 7 / 48)


def test_only_the_limit_moves_the_constant_denominator():
    longer = torch.cat([MASK, torch.zeros(2, 5, dtype=torch.bool)], dim=1)
    assert weights(longer, "constant").max() == weights(MASK, "constant", tokens=400).max() == 1 / 32
    assert weights(MASK, "constant", length=32).max() == 1 / 64


def test_token_mean_follows_the_tokens_of_the_whole_update():
    assert weights(MASK, "token_mean", tokens=40).max() == 1 / 40
