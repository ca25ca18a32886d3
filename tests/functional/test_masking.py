import math

import torch

from whet.functional.masking import row_lengths, row_means, row_sums, spread

MASK = torch.tensor([[True, False, True], [False, False, False]])
VALUES = torch.tensor([[1.0, math.nan, 4.0], [math.inf, 5.0, math.nan]])


def test_rows_are_summed_and_averaged_over_true_places_only():
    assert row_lengths(MASK).tolist() == [2, 0]
    assert row_sums(VALUES, MASK).tolist() == [5.0, 0.0]
    assert row_means(VALUES, MASK).tolist() == [2.5, 0.0]


def test_a_value_per_row_is_spread_over_its_true_places():
    assert spread(torch.tensor([3.0, math.nan]), MASK).tolist() == [[3.0, 0.0, 3.0], [0.0, 0.0, 0.0]]
