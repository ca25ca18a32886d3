"""What holds for every algorithm that ships, whatever its formula."""

import dataclasses
import math

import pytest
import torch

from tables import annotate, draw, forward, gradient, scalar, table
from whet import registry
from whet.training.terms import loss_terms
from whet.types import TokenStats

NAMES = registry.names("algorithms")
GROUP_BASELINE = {"rloo", "grpo", "dr_grpo", "bnpo", "dapo", "gspo", "cispo"}
REGULARISED = {"beta": 0.1, "entropy_coef": 0.05}
CASES = [(name, {}) for name in NAMES] + [(name, REGULARISED) for name in NAMES]

# Groups of 4, 3 and 1, lengths from 1 to 8, an observation inside a row, and a row that is masked as a whole.
ROWS = ["..xxx", "..x", "..xxxxxx", "......", ".xx..xx", ".xxxx", ".xxxxxxxx", "...xx"]
REWARDS = [1.0, 0.0, 0.25, 1.0, 0.0, 1.0, 0.5, 1.0]
GROUP = [4, 4, 4, 4, 0, 0, 0, 9]

POLICY, OLD, REF = table(0), table(0) + table(1, 0.2), table(0) + table(2, 0.3)


@pytest.fixture(params=CASES, ids=[f"{name}{'+kl+entropy' * bool(settings)}" for name, settings in CASES])
def algorithm(request):
    name, settings = request.param
    return registry.build("algorithms", {"name": name, **settings})


@pytest.fixture(params=NAMES)
def plain(request):
    return registry.build("algorithms", request.param)


def batch_of(algorithm, width=None, old=OLD, rewards=REWARDS):
    return annotate(algorithm, draw(ROWS, rewards, GROUP, width), old, REF)


def assert_close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_there_is_a_gradient_to_compare(algorithm):
    assert gradient(algorithm, batch_of(algorithm), POLICY).norm() > 1e-4


def test_padding_does_not_change_the_gradient(algorithm):
    narrow = gradient(algorithm, batch_of(algorithm), POLICY)
    assert_close(gradient(algorithm, batch_of(algorithm, width=15), POLICY), narrow)


@pytest.mark.parametrize(
    "parts", [[[i] for i in range(8)], [[0, 1], [2, 3], [4, 5], [6, 7]], [[7, 0, 5], [1, 2, 3, 4, 6]]]
)
def test_cutting_an_update_into_microbatches_does_not_change_the_gradient(algorithm, parts):
    batch = batch_of(algorithm)
    assert_close(gradient(algorithm, batch, POLICY, parts), gradient(algorithm, batch, POLICY))


def test_the_order_of_the_rows_does_not_change_the_gradient(algorithm):
    order = [5, 2, 7, 0, 3, 6, 1, 4]
    shuffled = annotate(algorithm, draw(ROWS, REWARDS, GROUP).rows(torch.tensor(order)), OLD, REF)
    straight = batch_of(algorithm)
    assert_close(shuffled.advantages, straight.advantages[order])
    assert_close(gradient(algorithm, shuffled, POLICY), gradient(algorithm, straight, POLICY))


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e4])
def test_masked_tokens_get_no_gradient_whatever_stands_there(algorithm, junk):
    batch = batch_of(algorithm)
    mask = batch.loss_mask
    stats = forward(POLICY, batch)
    clean = [t.detach().clone() for t in loss_terms(algorithm, batch, stats).values()]
    logprobs = torch.where(mask, stats.logprobs, junk).requires_grad_()
    dirty = dataclasses.replace(
        batch,
        old_logprobs=torch.where(mask, batch.old_logprobs, junk),
        ref_logprobs=torch.where(mask, batch.ref_logprobs, junk),
    )
    terms = loss_terms(algorithm, dirty, TokenStats(logprobs=logprobs, entropy=stats.entropy))
    sum((batch.loss_weights * t).sum() for t in terms.values()).backward()
    assert logprobs.grad.isfinite().all()
    assert (logprobs.grad[~mask] == 0).all()
    for got, expected in zip(terms.values(), clean, strict=True):
        assert_close(got.detach(), expected)


def test_advantages_are_zero_outside_the_mask(plain):
    batch = batch_of(plain)
    assert (batch.advantages[~batch.loss_mask] == 0).all()


def test_the_first_gradient_of_a_step_is_that_of_reinforce(plain):
    # On-policy every ratio is exactly 1, so d loss / d logp_t = -weight_t * A_t. RLOO's ratio is a product over the
    # whole completion; with the mean over its len tokens that is -len * weight_t * A_t = -A_i / N.
    batch = batch_of(plain, old=None)
    leaf = forward(POLICY, batch).logprobs.requires_grad_()
    scalar(plain, batch, TokenStats(logprobs=leaf, entropy=torch.zeros_like(leaf))).backward()
    length = batch.loss_mask.sum(-1, keepdim=True) if plain.name == "rloo" else 1
    assert torch.equal(leaf.grad.ne(0), (batch.loss_weights * batch.advantages).ne(0))
    assert_close(leaf.grad, -batch.loss_weights * batch.advantages * length)


def test_old_logprobs_equal_to_the_policy_are_the_same_as_none(plain):
    without, given = batch_of(plain, old=None), batch_of(plain, old=POLICY)
    leaf = POLICY.clone()
    assert torch.equal(
        scalar(plain, without, forward(leaf, without)), scalar(plain, given, forward(leaf, given))
    )
    assert_close(gradient(plain, without, POLICY), gradient(plain, given, POLICY))


def test_on_policy_ratios_are_exactly_one(plain):
    # A surrogate is then exactly -A. A score-function loss is exactly -A logp.
    batch = batch_of(plain, old=None)
    stats = forward(POLICY, batch)
    factor = stats.logprobs if plain.name in {"reinforce", "cispo"} else 1.0
    assert torch.equal(loss_terms(plain, batch, stats)["policy"], -batch.advantages * factor)


@pytest.mark.parametrize("name", sorted(GROUP_BASELINE))
def test_group_baselines_sum_to_zero_over_each_group(name):
    plain = registry.build("algorithms", name)
    per_row = plain.advantages(draw(["x"] * 8, REWARDS, GROUP), {})[:, 0]
    for group in set(GROUP):
        assert abs(per_row[torch.tensor(GROUP) == group].sum()) < 1e-14
    assert per_row[:4].abs().min() > 0.1


def test_exactly_these_algorithms_need_a_group():
    assert {n for n in NAMES if registry.load("algorithms", n).min_group_size == 2} == GROUP_BASELINE


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1])
def test_equal_rewards_give_exactly_no_gradient(plain, reward):
    batch = batch_of(plain, rewards=[reward] * 8)
    assert (batch.advantages == 0).all()
    assert (gradient(plain, batch, POLICY) == 0).all()


def test_a_small_step_downhill_makes_the_better_completions_likelier(plain):
    batch = batch_of(plain, old=None)
    step = POLICY - 1e-3 * gradient(plain, batch, POLICY)
    change = (forward(step, batch).logprobs - forward(POLICY, batch).logprobs) * batch.advantages
    assert (change.sum(-1) * batch.loss_weights.amax(-1)).sum() > 0


def test_a_batch_without_a_trained_token_gives_zero_and_no_nan(algorithm):
    batch = annotate(algorithm, draw(["...", ".."], [1.0, 0.0], [0, 0]), OLD, REF)
    assert (gradient(algorithm, batch, POLICY) == 0).all()


@pytest.mark.parametrize("log_ratio", [100.0, -100.0, 1e4])
def test_an_extreme_log_ratio_leaves_loss_and_gradient_finite(algorithm, log_ratio):
    batch = batch_of(algorithm)
    old = batch.old_logprobs.clone()
    old[0, 2] -= log_ratio  # A > 0 here
    old[1, 2] -= log_ratio  # A < 0 here
    batch = dataclasses.replace(batch, old_logprobs=old)
    grad = gradient(algorithm, batch, POLICY)
    assert grad.isfinite().all()


def test_float32_stays_float32(plain):
    batch = draw(ROWS, REWARDS, GROUP)
    batch = dataclasses.replace(batch, rewards=batch.rewards.float())
    batch = dataclasses.replace(batch, advantages=plain.advantages(batch, {}))
    logprobs = forward(POLICY, batch).logprobs.float()
    assert batch.advantages.dtype == plain.policy_loss(batch, logprobs).dtype == torch.float32
