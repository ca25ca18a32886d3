import dataclasses

import pytest
import torch

from tables import draw
from whet.algorithms.reinforce_pp import ReinforcePP
from whet.training.terms import reward_with_kl


def test_returns_to_go_hold_a_kl_penalty_per_token_and_are_whitened():
    # R = 1, beta 0.1, KL per token [.1, .2, .3]: returns [0.94, 0.95, 0.97], mean 0.953333, std 0.015275.
    algorithm = ReinforcePP(beta=0.1)
    old = torch.tensor([[9.0, 0.1, 0.2, 0.3]], dtype=torch.float64)  # the prompt's column must not count
    batch = dataclasses.replace(draw([".xxx"], [1.0], [0]), old_logprobs=old, ref_logprobs=0 * old)
    batch = dataclasses.replace(batch, rewards=reward_with_kl(algorithm, batch))
    expected = [0.0, -0.013333 / 0.015375, -0.003333 / 0.015375, 0.016667 / 0.015375]
    assert algorithm.advantages(batch, {})[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_whitening_is_over_tokens_of_the_whole_batch():
    # Values 1, 0, 0, 0: mean 1/4, std 1/2. Different prompts share one scale, and one completion each is enough.
    advantages = ReinforcePP().advantages(draw(["x", "xxx"], [1, 0], [0, 1]), {})
    assert advantages[0, 0].item() == pytest.approx(0.75 / 0.5001, abs=1e-12)
    assert advantages[1].tolist() == pytest.approx([-0.25 / 0.5001] * 3, abs=1e-12)


def test_the_discount_reaches_back_from_the_reward():
    # Returns 0.25, 0.5, 1: mean 0.583333, std 0.381881.
    advantages = ReinforcePP(gamma=0.5).advantages(draw(["xxx"], [1], [0]), {})
    expected = [-0.333333 / 0.381981, -0.083333 / 0.381981, 0.416667 / 0.381981]
    assert advantages[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_group_baseline_is_taken_before_whitening():
    # Groups (10, 12) and (0, 0): centred -1, 1, 0, 0, whose std is sqrt(2/3) = 0.816497. Without: the prompts differ.
    batch = draw(["x"] * 4, [10, 12, 0, 0], [0, 0, 1, 1])
    grouped = ReinforcePP(group_baseline=True).advantages(batch, {}).flatten().tolist()
    assert grouped == pytest.approx([-1 / 0.816597, 1 / 0.816597, 0, 0], abs=1e-6)
    assert ReinforcePP().advantages(batch, {})[0, 0] > 0
