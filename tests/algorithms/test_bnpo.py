import pytest
import torch

from tables import annotate, draw, forward, gradient, scalar, table
from whet.algorithms.bnpo import BNPO

BATCH = draw([".xxx", ".x"], [1, 0], [0, 0])


def test_the_mean_is_over_tokens():
    # On-policy: 3 tokens of -0.707007 and 1 of 0.707007, over 4 tokens.
    batch = annotate(BNPO(), BATCH, None)
    assert scalar(BNPO(), batch, forward(table(0), batch)).item() == pytest.approx(-0.3535035, abs=1e-6)


def test_it_is_not_the_average_of_means_over_micro_batches():
    # Averaging each row's own token mean, as a split run of TRL's bnpo does, weighs row 0 by 1/2 and not by 3/4.
    batch, logits = annotate(BNPO(), BATCH, None), table(0)
    rows = [gradient(BNPO(), batch, logits, [[i]]) for i in (0, 1)]
    split = rows[0] * (1 / 2) / (3 / 4) + rows[1] * (1 / 2) / (1 / 4)
    torch.testing.assert_close(rows[0] + rows[1], gradient(BNPO(), batch, logits), rtol=1e-12, atol=1e-12)
    assert (split - gradient(BNPO(), batch, logits)).norm() > 0.05
