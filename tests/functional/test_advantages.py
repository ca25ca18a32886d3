import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from whet.functional.advantages import (
    group_centered,
    group_mean,
    group_normalized,
    leave_one_out,
    moments,
    whiten,
)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def one_group(returns):
    return torch.zeros(len(returns), dtype=torch.int64)


def assert_close(got, expected, atol=1e-6):
    torch.testing.assert_close(got, vector(*expected), rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        ([1, 0, 0, 1], [0.865875, -0.865875, -0.865875, 0.865875]),  # 0.5 / (sqrt(1/3) + 1e-4)
        ([1, 1, 1, 0, 0, 0, 0, 0], [1.207381] * 3 + [-0.724429] * 5),  # 0.625 and -0.375 / (0.517549 + 1e-4)
        ([1, 0], [0.707007, -0.707007]),  # 0.5 / (0.707107 + 1e-4): ddof 1, so not 1
    ],
)
def test_group_normalised_advantages_by_hand(returns, expected):
    assert_close(group_normalized(vector(*map(float, returns)), one_group(returns)), expected)


def test_centred_advantages_by_hand():
    assert_close(group_centered(vector(1.0, 0.0, 0.0, 1.0), one_group(range(4))), [0.5, -0.5, -0.5, 0.5], 0)


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        ([1, 0, 0, 1], [2 / 3, -2 / 3, -2 / 3, 2 / 3]),  # 1 - 1/3, 0 - 2/3
        ([1, 1, 1, 0, 0, 0, 0, 0], [5 / 7] * 3 + [-3 / 7] * 5),  # 1 - 2/7, 0 - 3/7
    ],
)
def test_leave_one_out_advantages_by_hand(returns, expected):
    assert_close(leave_one_out(vector(*map(float, returns)), one_group(returns)), expected, 1e-15)


def test_groups_are_told_apart_by_their_number_wherever_their_rows_stand():
    returns, group = vector(1.0, 5.0, 0.0, 7.0, 2.0), torch.tensor([8, 3, 8, 3, 8])
    assert_close(group_mean(returns, group), [1.0, 6.0, 1.0, 6.0, 1.0], 1e-15)
    assert_close(group_centered(returns, group), [0.0, -1.0, -1.0, 1.0, 1.0], 1e-15)
    assert_close(leave_one_out(returns, group), [0.0, -2.0, -1.5, 2.0, 1.5], 1e-15)
    # std of (1, 0, 2) is 1; of (5, 7) sqrt(2)
    expected = [0.0, -1 / (2**0.5 + 1e-4), -1 / 1.0001, 1 / (2**0.5 + 1e-4), 1 / 1.0001]
    assert_close(group_normalized(returns, group), expected, 1e-12)


@pytest.mark.parametrize("advantage", [group_centered, group_normalized, leave_one_out])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.1, 0.7, 1e6 / 3])
def test_equal_returns_give_exactly_zero(advantage, value, dtype):
    returns = torch.full((7,), value, dtype=dtype)
    assert torch.equal(advantage(returns, one_group(returns)), torch.zeros(7, dtype=dtype))


@pytest.mark.parametrize("advantage", [group_centered, group_normalized, leave_one_out])
def test_a_group_of_one_gets_exactly_zero(advantage):
    assert advantage(vector(3.0, 1.0), torch.tensor([0, 1])).tolist() == [0.0, 0.0]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-10, 10)), min_size=1, max_size=12))
def test_leave_one_out_equals_the_mean_of_the_others(rows):
    group, returns = [g for g, _ in rows], [r for _, r in rows]
    expected = []
    for i, (g, r) in enumerate(rows):
        others = [x for j, (h, x) in enumerate(rows) if h == g and j != i]
        expected.append(r - sum(others) / len(others) if others else 0.0)
    assert_close(leave_one_out(vector(*returns), torch.tensor(group)), expected, 1e-12)


def test_whitening_by_hand():
    # Trained values 1, 2, 6: mean 3, std sqrt((4 + 1 + 9) / 2) = 2.645751.
    values = torch.tensor([[1.0, 100.0, 2.0], [6.0, float("nan"), -50.0]], dtype=torch.float64)
    mask = torch.tensor([[True, False, True], [True, False, False]])
    expected = torch.tensor([[-2.0, 0.0, -1.0], [3.0, 0.0, 0.0]], dtype=torch.float64) / 2.645851
    torch.testing.assert_close(whiten(values, mask), expected, rtol=0, atol=1e-6)


def test_whitening_equal_values_or_nothing_gives_exactly_zero():
    values = torch.full((2, 3), 0.1)
    assert torch.equal(whiten(values, torch.ones(2, 3, dtype=torch.bool)), torch.zeros(2, 3))
    assert torch.equal(whiten(values, torch.zeros(2, 3, dtype=torch.bool)), torch.zeros(2, 3))


def test_moments_have_ddof_one_and_no_spread_for_one_value():
    mean, std = moments(vector(1.0, 0.0, 0.0, 1.0))
    assert mean == 0.5
    assert std.item() == pytest.approx((1 / 3) ** 0.5, abs=1e-15)
    assert [m.item() for m in moments(vector(5.0))] == [5.0, 0.0]
