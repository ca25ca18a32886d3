"""Log-probabilities that only a forward pass can tell."""

import torch

import tiny
from whet.algorithms.dr_grpo import DrGRPO
from whet.config import SamplingConfig
from whet.rollouts.annotate import annotate
from whet.rollouts.batch import make_batch
from whet.rollouts.reference import Reference, trained_tensors

POLICY, REFERENCE = tiny.policy(0), tiny.policy(1)
BATCH = make_batch(
    tiny.groups(POLICY, [[1.0, 0.0], [0.5, 1.0]]),
    SamplingConfig(max_completion_length=6),
    torch.device("cpu"),
)


def test_nothing_is_computed_that_is_not_needed() -> None:
    batch = annotate(BATCH, DrGRPO(), POLICY, None, 100)
    assert batch.old_logprobs is None
    assert batch.ref_logprobs is None


def test_old_logprobs_are_those_of_the_policy_and_equal_what_was_sampled() -> None:
    batch = annotate(BATCH, DrGRPO(num_minibatches=2), POLICY, None, 11)
    assert batch.old_logprobs is not None
    torch.testing.assert_close(batch.old_logprobs, BATCH.sampling_logprobs, rtol=0, atol=1e-5)
    assert (batch.old_logprobs[~batch.loss_mask] == 0).all()
    assert not batch.old_logprobs.requires_grad


def test_reference_logprobs_are_those_of_the_reference() -> None:
    batch = annotate(BATCH, DrGRPO(beta=0.1), POLICY, REFERENCE, 11)
    assert batch.old_logprobs is None
    assert batch.ref_logprobs is not None
    torch.testing.assert_close(
        batch.ref_logprobs, REFERENCE.forward(BATCH).logprobs.detach(), rtol=0, atol=1e-5
    )
    assert (batch.ref_logprobs - BATCH.sampling_logprobs).abs().max() > 0.01


def test_kl_in_the_reward_needs_both() -> None:
    batch = annotate(BATCH, DrGRPO(beta=0.1, kl_in="reward"), POLICY, REFERENCE, 100)
    assert batch.old_logprobs is not None
    assert batch.ref_logprobs is not None


def test_a_reference_of_other_tensors_says_what_a_policy_with_them_says_and_leaves_ours_alone() -> None:
    lent = Reference(POLICY, trained_tensors(REFERENCE))
    before = POLICY.forward(BATCH).logprobs
    assert lent.forward(BATCH).logprobs.equal(REFERENCE.forward(BATCH).logprobs)
    assert POLICY.forward(BATCH).logprobs.equal(before)


def test_the_reference_does_not_move_with_the_policy() -> None:
    policy = tiny.policy(0)
    reference = Reference(policy, trained_tensors(policy))
    with torch.no_grad():
        policy.module.wte.weight.add_(1.0)
    assert reference.forward(BATCH).logprobs.equal(POLICY.forward(BATCH).logprobs)
