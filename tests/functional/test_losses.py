import math

import pytest
import torch

from whet.functional.losses import (
    cispo_loss,
    clipped_surrogate,
    policy_ratio,
    sequence_product_ratio,
    sequence_ratio,
    truncated_importance,
)


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


# Ratios 0.5, 1 and 10: log 0.5 = -0.693147, log 10 = 2.302585.
LOGPROBS = row(-1.0 - math.log(2), -1.0, -3.0 + math.log(10))
OLD = row(-1.0, -1.0, -3.0)
ADVANTAGES = row(1.0, -1.0, -4.0)
ALL = torch.ones(1, 3, dtype=torch.bool)


def assert_close(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def slope(function, logprobs):
    leaf = logprobs.clone().requires_grad_()
    (grad,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return grad


def test_the_ratio_is_that_of_the_probabilities():
    assert_close(policy_ratio(LOGPROBS, OLD), row(0.5, 1.0, 10.0))


def test_without_old_logprobs_the_ratio_is_exactly_one_with_the_gradient_of_logp():
    assert torch.equal(policy_ratio(LOGPROBS, None), torch.ones(1, 3, dtype=torch.float64))
    assert torch.equal(
        slope(lambda x: policy_ratio(x, None), LOGPROBS), torch.ones(1, 3, dtype=torch.float64)
    )


def test_log_ratios_are_clamped_at_20_on_both_sides():
    ratio = policy_ratio(row(100.0, -100.0, 19.0), row(0.0, 0.0, 0.0))
    assert_close(ratio, torch.exp(row(20.0, -20.0, 19.0)))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.5, 1.0, -1.2),  # held at 1 + 0.2
        (0.5, -1.0, 0.8),  # held at 1 - 0.2
        (0.5, 1.0, -0.5),  # free to come back
        (1.5, -1.0, 1.5),  # free to come back
    ],
)
def test_the_four_corners_of_the_clipped_surrogate(ratio, advantage, loss):
    assert_close(clipped_surrogate(row(ratio), row(advantage), 0.2), row(loss))


@pytest.mark.parametrize(("ratio", "advantage"), [(1.5, 1.0), (0.5, -1.0)])
def test_a_clipped_token_has_no_gradient_and_a_returning_one_has(ratio, advantage):
    clipped = slope(lambda x: clipped_surrogate(x, row(advantage), 0.2), row(ratio))
    returning = slope(lambda x: clipped_surrogate(x, row(-advantage), 0.2), row(ratio))
    assert clipped.item() == 0.0
    assert returning.item() == advantage  # d(-w * -A) / dw


def test_the_upper_bound_has_its_own_distance():
    assert_close(clipped_surrogate(row(1.5), row(1.0), 0.2, 0.28), row(-1.28))
    assert_close(clipped_surrogate(row(0.5), row(-1.0), 0.2, 0.28), row(0.8))


def test_without_dual_clip_a_large_ratio_with_a_negative_advantage_is_not_bounded():
    assert_close(clipped_surrogate(policy_ratio(LOGPROBS, OLD), ADVANTAGES, 0.2), row(-0.5, 1.0, 40.0))


def test_cispo_by_hand_with_bounds_on_both_sides():
    # 0.8 * 1 * 1.693147 = 1.354518; 1 * -1 * 1 = -1; 1.2 * -4 * 0.697415 = -3.347592. Sum -2.993074.
    loss = cispo_loss(policy_ratio(LOGPROBS, OLD), ADVANTAGES, LOGPROBS, 0.8, 1.2)
    torch.testing.assert_close(loss, row(1.354518, -1.0, -3.347592), rtol=0, atol=1e-6)
    assert abs(loss.sum().item() + 2.993074) < 1e-6


def test_cispo_by_hand_with_a_cap_alone():
    # 0.5 * 1 * 1.693147 = 0.846574; -1; 5 * -4 * 0.697415 = -13.948298.
    loss = cispo_loss(policy_ratio(LOGPROBS, OLD), ADVANTAGES, LOGPROBS, 0.0, 5.0)
    torch.testing.assert_close(loss, row(0.846574, -1.0, -13.948298), rtol=0, atol=1e-6)


def test_cispo_keeps_a_gradient_where_the_weight_is_clipped():
    grad = slope(lambda x: cispo_loss(policy_ratio(x, OLD), ADVANTAGES, x, 0.8, 1.2), LOGPROBS)
    assert_close(grad, row(-0.8, 1.0, 4.8))  # -clip(w) A


def test_the_sequence_ratio_is_the_geometric_mean_at_every_token():
    # (0.5 * 1 * 10) ** (1/3) = 1.709976
    ratio = sequence_ratio(LOGPROBS, OLD, ALL)
    torch.testing.assert_close(ratio, row(1.709976, 1.709976, 1.709976), rtol=0, atol=1e-6)


def test_the_sequence_ratio_gives_each_token_its_own_gradient():
    # d s / d logp_t in the token form is s itself; the mean over the 3 tokens is s / 3, that of the geometric mean.
    grad = slope(lambda x: sequence_ratio(x, OLD, ALL), LOGPROBS)
    geometric = slope(lambda x: (x - OLD).mean().exp(), LOGPROBS)
    assert_close(grad, sequence_ratio(LOGPROBS, OLD, ALL))
    assert_close(grad / 3, geometric)


def test_masked_tokens_are_not_in_the_sequence_ratios():
    mask = torch.tensor([[True, False, True]])
    junk = row(OLD[0, 0].item(), math.nan, OLD[0, 2].item())
    root_5 = math.sqrt(5)  # (0.5 * 10) ** (1/2)
    assert_close(sequence_ratio(LOGPROBS, junk, mask), row(root_5, root_5, root_5))
    assert_close(sequence_product_ratio(LOGPROBS, junk, mask), row(5.0, 5.0, 5.0))


def test_doubling_a_completion_does_not_change_its_sequence_ratio():
    twice = sequence_ratio(LOGPROBS.repeat(1, 2), OLD.repeat(1, 2), ALL.repeat(1, 2))
    assert_close(twice[:, :3], sequence_ratio(LOGPROBS, OLD, ALL))


def test_the_product_ratio_is_that_of_the_whole_completion_with_its_gradient():
    # 0.5 * 1 * 10 = 5, and d W / d logp_t = W for each of the 3 tokens; 3 copies of W sum to 3 * 5 per token.
    assert_close(sequence_product_ratio(LOGPROBS, OLD, ALL), row(5.0, 5.0, 5.0))
    assert_close(slope(lambda x: sequence_product_ratio(x, OLD, ALL), LOGPROBS), row(15.0, 15.0, 15.0))


def test_one_log_ratio_of_100_gives_a_finite_loss_and_gradient():
    # The loss of the stray token is held at -1.2; exp(100) never appears, so its gradient is 0 and not 0 * inf.
    logprobs, old = row(-1.0, -1.0, -1.0), row(-101.0, -1.0, -1.0)

    def loss(x):
        return clipped_surrogate(policy_ratio(x, old), torch.ones_like(x), 0.2)

    assert_close(loss(logprobs).mean(), torch.tensor(-3.2 / 3, dtype=torch.float64))  # -1.066667
    assert torch.equal(slope(loss, logprobs), row(0.0, -1.0, -1.0))


def test_truncated_importance_by_hand():
    # exp(old - sampling): e^(ln 0.5 - ln 0.4) = 1.25, e^0 = 1, 0.2 / 0.8 = 0.25, and 0.9 / 0.1 = 9 cut to 2.
    old = torch.log(row(0.5, 0.3, 0.2, 0.9))
    weights = truncated_importance(row(-7.0, -7.0, -7.0, -7.0), old, torch.log(row(0.4, 0.3, 0.8, 0.1)), 2.0)
    assert_close(weights, row(1.25, 1.0, 0.25, 2.0))


def test_on_policy_the_weight_is_that_of_the_policy_now_and_has_no_gradient():
    logprobs = torch.log(row(0.6, 0.2)).requires_grad_()
    weights = truncated_importance(logprobs, None, torch.log(row(0.5, 0.4)), 3.0)
    assert_close(weights, row(1.2, 0.5))
    assert not weights.requires_grad


def test_weighted_by_importance_the_mean_over_the_sampler_is_that_over_the_policy():
    policy, sampler = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.5, 0.3, 0.2]).double()
    values = torch.tensor([1.0, -2.0, 5.0]).double()
    weights = truncated_importance(policy.log()[None], None, sampler.log()[None], 10.0)[0]
    assert_close((sampler * weights * values).sum(), (policy * values).sum())  # 0.7 - 0.4 + 0.5 = 0.8
