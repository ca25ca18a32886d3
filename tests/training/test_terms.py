import dataclasses
import math

import pytest
import torch

from tables import annotate, draw, forward, table
from whet.algorithms.cispo import CISPO
from whet.algorithms.dr_grpo import DrGRPO
from whet.algorithms.gspo import GSPO
from whet.algorithms.reinforce import Reinforce
from whet.training.terms import clipped_tokens, loss_terms, reward_with_kl
from whet.types import TokenStats

BATCH = draw([".xx", "xx."], [1.0, 0.0], [0, 0])


def tokens(*values):
    return torch.tensor([values], dtype=torch.float64)


def one_row(picture, **columns):
    return dataclasses.replace(draw([picture], [1.0], [0]), **columns)


def test_a_term_appears_when_it_has_a_coefficient():
    batch = annotate(DrGRPO(), BATCH, None, table(2))
    stats = forward(table(0), batch)
    assert set(loss_terms(DrGRPO(), batch, stats)) == {"policy"}
    assert set(loss_terms(DrGRPO(beta=0.1, entropy_coef=0.1), batch, stats)) == {"policy", "kl", "entropy"}


def test_the_sampler_correction_multiplies_the_policy_term_alone():
    # On-policy: -A times min(e^(logp - sampling), 1.5): -2 * 0.5 and -2 * 1.5 (for a ratio of 4).
    batch = one_row(
        "xx.",
        advantages=tokens(2.0, 2.0, 0.0),
        ref_logprobs=tokens(-1.5, -1.0, 0.0),
        sampling_logprobs=tokens(-1.0 + math.log(2), -1.0 - math.log(4), -5.0),
    )
    stats = TokenStats(logprobs=tokens(-1.0, -1.0, 0.0), entropy=tokens(1.0, 1.0, 1.0))
    plain, corrected = (
        loss_terms(DrGRPO(beta=0.1, entropy_coef=0.1, tis=tis), batch, stats) for tis in (None, 1.5)
    )
    assert plain["policy"].tolist() == [[-2.0, -2.0, 0.0]]
    assert corrected["policy"][0].tolist() == pytest.approx([-1.0, -3.0, 0.0], abs=1e-12)
    assert all(torch.equal(plain[name], corrected[name]) for name in ("kl", "entropy"))


def test_kl_in_the_reward_is_no_term_of_the_loss():
    algorithm = DrGRPO(beta=0.1, kl_in="reward")
    batch = annotate(algorithm, BATCH, table(0), table(2))
    assert set(loss_terms(algorithm, batch, forward(table(0), batch))) == {"policy"}


def test_the_entropy_term_rewards_entropy():
    batch = one_row("xx", advantages=tokens(0.0, 0.0))
    stats = TokenStats(logprobs=tokens(-1.0, -1.0), entropy=tokens(2.0, 0.5))
    assert loss_terms(DrGRPO(entropy_coef=0.1), batch, stats)["entropy"].tolist() == [[-0.2, -0.05]]


@pytest.mark.parametrize(
    ("estimator", "per_token"),
    [
        ("k1", 0.5),  # logp - ref
        ("k2", 0.125),  # 0.5^2 / 2
        ("k3", 0.106531),  # e^-0.5 - 1 + 0.5
        ("weighted_k3", 0.087220),  # times e^-0.2
    ],
)
def test_the_kl_term_is_beta_times_the_estimator_named(estimator, per_token):
    batch = one_row(
        "x.", advantages=tokens(0.0, 0.0), ref_logprobs=tokens(-1.5, -9.0), old_logprobs=tokens(-0.8, 0.0)
    )
    stats = TokenStats(logprobs=tokens(-1.0, 0.0), entropy=tokens(0.0, 0.0))
    term = loss_terms(DrGRPO(beta=0.1, kl_estimator=estimator), batch, stats)["kl"]
    assert term[0].tolist() == pytest.approx([0.1 * per_token, 0.0], abs=1e-7)


def test_kl_in_the_reward_is_charged_where_it_arises():
    batch = one_row(".xx", old_logprobs=tokens(5.0, -1.0, -2.0), ref_logprobs=tokens(0.0, -1.5, -1.0))
    rewards = reward_with_kl(DrGRPO(beta=0.1, kl_in="reward"), batch)
    assert rewards[0].tolist() == pytest.approx([0.0, -0.05, 1.1])  # -0.1 * 0.5; 1 - 0.1 * -1


@pytest.mark.parametrize("settings", [{}, {"beta": 0.1}, {"kl_in": "reward"}])
def test_otherwise_rewards_stay_as_they_are(settings):
    batch = one_row("xx", old_logprobs=tokens(0.0, 0.0), ref_logprobs=tokens(-1.0, -1.0))
    assert torch.equal(reward_with_kl(DrGRPO(**settings), batch), batch.rewards)


# Ratios 1.5, 0.5, 1.5, 0.5 with A of 1, 1, -1, -1: by the clipped surrogate the first and the last are dead.
LOG_RATIOS, ADVANTAGES = torch.tensor([[1.5, 0.5, 1.5, 0.5]]).double().log(), tokens(1.0, 1.0, -1.0, -1.0)


def clipped(algorithm, picture, log_ratios=LOG_RATIOS, advantages=ADVANTAGES):
    batch = one_row(picture, old_logprobs=torch.zeros_like(log_ratios), advantages=advantages)
    return clipped_tokens(algorithm, batch, log_ratios)[0].tolist()


def test_clipped_tokens_are_those_whose_gradient_is_dead():
    # Counting every |w - 1| > 0.2 would give all four.
    assert clipped(DrGRPO(), "xxxx") == [True, False, False, True]
    assert clipped(DrGRPO(), ".xxx") == [False, False, False, True]


def test_a_token_without_advantage_is_not_called_clipped():
    assert clipped(DrGRPO(), "xxxx", advantages=tokens(0.0, 0.0, 0.0, -1.0)) == [False, False, False, True]


@pytest.mark.parametrize("algorithm", [CISPO(epsilon_high=0.1), Reinforce()])
def test_algorithms_that_clip_no_gradient_report_none(algorithm):
    assert clipped(algorithm, "xxxx") == [False] * 4


def test_a_sequence_ratio_is_clipped_with_all_its_tokens():
    # Mean log ratio (0.405 - 0.693) / 2 < 0: dead with A < 0, although the first token alone would be alive.
    assert clipped(GSPO(), "xx", LOG_RATIOS[:, :2], tokens(-1.0, -1.0)) == [True, True]
    assert clipped(GSPO(), "xx", LOG_RATIOS[:, :2], tokens(1.0, 1.0)) == [False, False]


def test_counting_clipped_tokens_works_without_gradients_and_leaves_none_behind():
    logprobs = LOG_RATIOS.clone().requires_grad_()
    batch = one_row("xxxx", old_logprobs=torch.zeros_like(LOG_RATIOS), advantages=ADVANTAGES)
    with torch.no_grad():
        assert clipped_tokens(DrGRPO(), batch, logprobs).sum() == 2
    assert logprobs.grad is None
