"""Expectations are taken by enumeration: one place per symbol of the vocabulary, weighted by its probability."""

import pytest
import torch

from whet.functional.kl import k1, k2, k3, kl_estimate, weighted_k3

Q = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)  # the policy
P = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)  # the reference
REVERSE = [0.468264, -0.300021, -0.168243]  # grad KL(Q, P) in logits: q_i (log(q_i / p_i) - KL)
FORWARD = [0.5, -0.3, -0.2]  # grad KL(P, Q) in logits: q_i - p_i


def assert_close(got, expected):
    torch.testing.assert_close(got.flatten(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


def loss_gradient(estimator, old=None):
    """The gradient in logits of E_x[estimator(x)], the draws x of the old policy held fixed as in a loss."""
    logits = Q.log().requires_grad_()
    logprobs = logits.log_softmax(-1)
    drawn_from = (logprobs if old is None else old).detach()
    expectation = (drawn_from.exp() * kl_estimate(logprobs, P.log(), estimator, old)).sum()
    (grad,) = torch.autograd.grad(expectation, logits)
    return grad


def test_each_estimator_per_token_by_hand():
    assert_close(k1(Q.log(), P.log()), [1.252763, -0.916291, -1.098612])
    assert_close(k2(Q.log(), P.log()), [0.784708, 0.419794, 0.603474])
    assert_close(k3(Q.log(), P.log()), [0.538477, 0.583709, 0.901388])


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [("k1", 0.583815), ("k2", 0.693602), ("k3", 0.583815), ("weighted_k3", 0.583815)],  # KL(Q, P) = 0.583815
)
def test_k1_and_k3_are_unbiased_and_k2_is_not(estimator, expected):
    assert_close((Q * kl_estimate(Q.log(), P.log(), estimator)).sum(), [expected])


def test_k1_as_a_loss_regularises_nothing():
    assert_close(loss_gradient("k1"), [0.0, 0.0, 0.0])


def test_k1_inside_the_reward_has_the_gradient_of_the_reverse_kl():
    logits = Q.log().requires_grad_()
    logprobs = logits.log_softmax(-1)
    score_function = (Q * k1(logprobs, P.log()).detach() * logprobs).sum()
    (grad,) = torch.autograd.grad(score_function, logits)
    assert_close(grad, REVERSE)


@pytest.mark.parametrize(
    ("estimator", "expected"), [("k2", REVERSE), ("k3", FORWARD), ("weighted_k3", REVERSE)]
)
def test_the_gradient_of_each_estimator_as_a_loss(estimator, expected):
    assert_close(loss_gradient(estimator), expected)


def test_the_weighted_estimator_is_right_off_policy_too():
    # Drawn from another policy; k2 and k3 then estimate neither KL of the present one.
    old = torch.tensor([[0.3, 0.3, 0.4]], dtype=torch.float64).log()
    assert_close(loss_gradient("weighted_k3", old), REVERSE)


def test_k3_is_never_negative_and_survives_extreme_ratios():
    gap = torch.tensor([[0.0, 1e-4, -1e-4, 200.0, -200.0]], dtype=torch.float64).requires_grad_()
    values = k3(gap, torch.zeros_like(gap))
    assert (values >= 0).all()
    values.sum().backward()
    assert values.isfinite().all()
    assert gap.grad.isfinite().all()


def test_k3_keeps_its_digits_for_near_equal_policies_in_float32():
    # exp(x) - 1 - x is x^2 / 2 + x^3 / 6 = 5.001667e-7 at x = 1e-3; without expm1 float32 gets 4.77e-7.
    value = k3(torch.tensor([[-1e-3]]), torch.zeros(1, 1))
    assert value.item() == pytest.approx(5.001667e-7, rel=1e-3)


def test_the_weight_of_weighted_k3_is_the_ratio_to_the_old_policy():
    old = Q.log() - torch.tensor([[0.0, 0.5, -0.5]], dtype=torch.float64)
    expected = k3(Q.log(), P.log()) * torch.tensor([[1.0, 1.648721, 0.606531]], dtype=torch.float64)
    assert_close(weighted_k3(Q.log(), P.log(), old), expected.flatten().tolist())
