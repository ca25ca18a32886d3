import torch

from whet.functional.returns import returns_to_go


def check(rewards, picture, expected, gamma=1.0):
    mask = torch.tensor([[c == "x" for c in picture]])
    got = returns_to_go(torch.tensor([rewards], dtype=torch.float64), mask, gamma)
    torch.testing.assert_close(got, torch.tensor([expected], dtype=torch.float64), rtol=0, atol=1e-15)


def test_a_reward_at_the_end_reaches_every_token_before_it():
    check([0, 0, 0, 1], ".xxx", [0, 1, 1, 1])


def test_a_reward_counts_for_its_own_token_and_those_before_not_after():
    check([0, 3, 0, 1], "xxxx", [4, 4, 1, 1])


def test_discounting_by_hand():
    # 2; 0 + 0.9 * 2; 1 + 0.9 * 1.8
    check([1, 0, 2], "xxx", [2.62, 1.8, 2.0], gamma=0.9)


def test_masked_tokens_hand_the_sum_on_without_discount():
    check([0, 0, 0, 0, 4], "xx..x", [1.0, 2.0, 0, 0, 4.0], gamma=0.5)


def test_a_reward_on_a_masked_token_counts_for_the_tokens_before():
    check([0, 0, 1, 0], "xx..", [0.5 * 0.5, 0.5, 0, 0], gamma=0.5)


def test_kl_penalties_per_token_by_hand():
    # R = 1, beta 0.1, KL [.1, .2, .3]: 1 - 0.1 * (0.6, 0.5, 0.3)
    check([-0.01, -0.02, 1 - 0.03], "xxx", [0.94, 0.95, 0.97])


def test_rows_do_not_mix():
    rewards = torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    assert returns_to_go(rewards, torch.ones(2, 2, dtype=torch.bool)).tolist() == [[1.0, 1.0], [2.0, 2.0]]
