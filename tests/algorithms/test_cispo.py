import dataclasses

import torch

from tables import draw
from whet.algorithms.cispo import CISPO


def gradient(algorithm, log_ratios, advantage):
    old = torch.zeros(1, len(log_ratios), dtype=torch.float64)
    logprobs = torch.tensor([log_ratios], dtype=torch.float64).requires_grad_()
    batch = draw(["x" * len(log_ratios)], [0.0], [0])
    batch = dataclasses.replace(batch, old_logprobs=old, advantages=old + advantage)
    algorithm.policy_loss(batch, logprobs).sum().backward()
    return logprobs.grad[0]


def test_the_weight_is_capped_at_five_and_has_no_floor():
    grad = gradient(CISPO(), [3.0, -3.0, 0.0], 2.0)  # ratios 20.1, 0.0498, 1
    torch.testing.assert_close(grad, -2.0 * torch.tensor([5.0, 0.049787068, 1.0], dtype=torch.float64))


def test_both_bounds_are_distances_from_one():
    grad = gradient(CISPO(epsilon=0.2, epsilon_high=0.3), [3.0, -3.0, 0.0], -1.0)
    torch.testing.assert_close(grad, torch.tensor([1.3, 0.8, 1.0], dtype=torch.float64))
