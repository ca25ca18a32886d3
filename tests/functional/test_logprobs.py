"""Log-probabilities and entropies against a hand table, closed forms and finite differences."""

import math

import pytest
import torch

from whet.functional import logprobs
from whet.functional.logprobs import MatrixStats, token_stats
from whet.models.packing import padded
from whet.types import Batch

# What the state at each position predicts, over the tokens 0, 1, 2. No two rows agree, so a shift shows.
AFTER = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]
TOKENS = [2, 1, 2, 0]


def batch(loss_mask, tokens=TOKENS, temperature=1.0):
    rows = torch.tensor([tokens])
    zeros = torch.zeros(rows.shape)
    return Batch(
        token_ids=rows,
        lengths=torch.tensor([len(tokens)]),
        loss_mask=torch.tensor([loss_mask], dtype=torch.bool),
        group=torch.zeros(1, dtype=torch.int64),
        truncated=torch.zeros(1, dtype=torch.bool),
        rewards=zeros,
        sampling_logprobs=zeros,
        temperature=temperature,
    )


def of_states(hidden, head, a_batch, entropy_gradient=False):
    """hidden: `[1, T - 1, D]`, the states of a padded row."""
    return token_stats(padded(a_batch).states(hidden), head, a_batch, entropy_gradient)


def stats(a_batch, probabilities=AFTER):
    """The head is the identity, so a state is the logits themselves."""
    return of_states(torch.tensor([probabilities]).log(), torch.eye(3), a_batch)


def test_token_t_is_scored_by_the_state_before_it():
    # token 1 (id 1) by AFTER[0][1] = 0.3, token 2 (id 2) by AFTER[1][2] = 0.7, token 3 (id 0) by AFTER[2][0] = 0.6
    expected = torch.tensor([[0.0, math.log(0.3), math.log(0.7), math.log(0.6)]])
    torch.testing.assert_close(stats(batch([0, 1, 1, 1])).logprobs, expected, rtol=0, atol=1e-6)


def test_the_first_completion_token_is_scored_by_the_last_prompt_position():
    found = stats(batch([0, 0, 1, 1])).logprobs
    torch.testing.assert_close(found[0, 2].item(), math.log(0.7), rtol=0, atol=1e-6)


def test_what_is_not_trained_is_exactly_zero():
    found = stats(batch([0, 0, 1, 0]))
    assert found.logprobs[0, [0, 1, 3]].tolist() == [0.0, 0.0, 0.0]
    assert found.entropy[0, [0, 1, 3]].tolist() == [0.0, 0.0, 0.0]


def test_at_a_temperature_differences_of_log_probabilities_shrink_by_it():
    # log p_T(i) - log p_T(j) = (log p_1(i) - log p_1(j)) / T
    def logprob(token):
        return stats(batch([0, 1, 0, 0], [2, token, 2, 0], temperature=0.7)).logprobs[0, 1].item()

    assert logprob(0) - logprob(1) == pytest.approx(math.log(0.5 / 0.3) / 0.7, abs=1e-6)


def test_at_temperature_one_half_probabilities_are_squared_and_normalised():
    # 0.3^2 / (0.5^2 + 0.3^2 + 0.2^2) = 0.09 / 0.38
    found = stats(batch([0, 1, 0, 0], temperature=0.5)).logprobs[0, 1].item()
    assert found == pytest.approx(math.log(0.09 / 0.38), abs=1e-6)


def entropy_of(logits):
    """Of one distribution over three tokens."""
    return of_states(torch.tensor([[logits]]), torch.eye(3), batch([0, 1], [0, 1])).entropy[0, 1].item()


def test_the_entropy_of_a_uniform_distribution_is_log_v():
    assert entropy_of([3.5, 3.5, 3.5]) == pytest.approx(math.log(3), abs=1e-6)


def test_the_entropy_is_that_of_the_distribution_that_drew_the_token():
    # -(0.1 log 0.1 + 0.2 log 0.2 + 0.7 log 0.7) = 0.230259 + 0.321888 + 0.249672
    found = stats(batch([0, 0, 1, 0])).entropy[0, 2].item()
    assert found == pytest.approx(0.801819, abs=1e-5)


def test_the_entropy_of_a_certain_token_is_zero_and_finite():
    assert entropy_of([0.0, -1000.0, -1000.0]) == 0.0


def test_the_gradient_of_a_log_probability_is_one_minus_p_at_the_token_and_minus_p_elsewhere():
    logits = torch.tensor([AFTER]).log().requires_grad_()
    of_states(logits, torch.eye(3), batch([0, 1, 0, 0]), False).logprobs.sum().backward()
    expected = torch.tensor([[-0.5, 0.7, -0.2], [0, 0, 0], [0, 0, 0]])
    torch.testing.assert_close(logits.grad[0], expected, rtol=0, atol=1e-6)


def test_the_entropy_carries_a_gradient_only_when_asked():
    for wanted in (False, True):
        logits = torch.tensor([AFTER]).log().requires_grad_()
        found = of_states(logits, torch.eye(3), batch([0, 1, 1, 1]), wanted)
        assert found.entropy.requires_grad is wanted
        assert found.logprobs.requires_grad


def test_the_gradient_of_the_entropy_is_minus_p_times_log_p_plus_the_entropy():
    # H = 1.029653 for p = (0.5, 0.3, 0.2): 0.5 (0.693147 - H), 0.3 (1.203973 - H), 0.2 (1.609438 - H)
    logits = torch.tensor([AFTER]).log().requires_grad_()
    of_states(logits, torch.eye(3), batch([0, 1, 0, 0]), True).entropy.sum().backward()
    expected = torch.tensor([-0.168253, 0.052296, 0.115957])
    torch.testing.assert_close(logits.grad[0, 0], expected, rtol=0, atol=1e-5)


def random_head(*shapes):
    """Tensors that want a gradient, float64."""
    noise = torch.Generator().manual_seed(0)
    return [torch.randn(*s, generator=noise, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.parametrize("limit", [10**6, 10, 5], ids=["all at once", "two rows", "one row"])
def test_both_gradients_reach_states_and_head_as_finite_differences_say(limit, monkeypatch):
    monkeypatch.setattr(logprobs, "MAX_LOGITS", limit)
    states, weight = random_head((5, 4), (5, 4))
    targets = torch.tensor([0, 4, 2, 1, 1])
    assert torch.autograd.gradcheck(
        lambda s, w: MatrixStats.apply(s, w, targets, 0.8), (states, weight), eps=1e-6, atol=1e-8
    )


def test_probabilities_that_are_kept_in_parts_give_the_same_gradients(monkeypatch):
    monkeypatch.setattr(logprobs, "CACHED_LOGITS", 10)
    monkeypatch.setattr(logprobs, "MIN_ROWS", 1)
    states, weight = random_head((5, 4), (5, 4))
    targets = torch.tensor([0, 4, 2, 1, 1])
    assert torch.autograd.gradcheck(
        lambda s, w: MatrixStats.apply(s, w, targets, 0.8), (states, weight), eps=1e-6, atol=1e-8
    )


def test_a_frozen_head_gets_no_gradient_and_the_states_get_theirs():
    states, weight = random_head((1, 3, 4), (3, 4))
    weight.requires_grad_(False)
    of_states(states, weight, batch([0, 1, 0, 1])).logprobs.sum().backward()
    assert weight.grad is None
    assert states.grad[0, [0, 2]].abs().min() > 0


def test_half_precision_logits_are_reduced_in_float32():
    found = of_states(
        torch.tensor([AFTER]).log().bfloat16(), torch.eye(3).bfloat16(), batch([0, 1, 1, 1]), False
    )
    assert found.logprobs.dtype == found.entropy.dtype == torch.float32
    rounded = torch.tensor(AFTER).log().bfloat16().double()
    assert found.logprobs[0, 1].item() == pytest.approx(rounded[0].log_softmax(-1)[1].item(), abs=1e-6)


def in_parts(limit, is_matrix, entropy_gradient, monkeypatch):
    """Statistics and gradients with that many logits at once, and the most rows that the head saw."""
    monkeypatch.setattr(logprobs, "MAX_LOGITS", limit)
    shapes = []
    hidden, weight = random_head((1, 3, 4), (3, 4))
    head = torch.nn.Linear(4, 3, bias=False, dtype=torch.float64)
    head.weight = torch.nn.Parameter(weight.detach())
    head.register_forward_hook(lambda *call: shapes.append(len(call[2])))
    a_batch = batch([0, 1, 1, 1], temperature=0.7)
    said = of_states(hidden, head.weight if is_matrix else head, a_batch, entropy_gradient)
    (said.logprobs * torch.tensor([0.0, 1.0, -2.0, 0.5]) + said.entropy * 0.3).sum().backward()
    return (said.logprobs.detach(), said.entropy.detach(), hidden.grad, head.weight.grad), shapes


@pytest.mark.parametrize("entropy_gradient", [False, True])
def test_logits_in_parts_give_the_gradients_of_all_at_once(monkeypatch, entropy_gradient):
    whole, rows = in_parts(10**6, False, entropy_gradient, monkeypatch)
    assert max(rows) == 3
    for limit in (3, 6):  # one row of 3 logits at a time, and two
        parts, rows = in_parts(limit, False, entropy_gradient, monkeypatch)
        assert max(rows) == limit // 3
        for part, expected in zip(parts, whole, strict=True):
            torch.testing.assert_close(part, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("entropy_gradient", [False, True])
def test_the_head_as_a_matrix_gives_what_it_gives_as_a_layer(monkeypatch, entropy_gradient):
    layer, _ = in_parts(10**6, False, entropy_gradient, monkeypatch)
    for limit in (3, 6, 10**6):
        matrix, rows = in_parts(limit, True, entropy_gradient, monkeypatch)
        assert rows == []
        for one, other in zip(matrix, layer, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


def test_a_batch_without_a_trained_token_is_all_zero():
    found = stats(batch([0, 0, 0, 0]))
    assert found.logprobs.tolist() == found.entropy.tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_without_gradients_no_probabilities_are_kept(monkeypatch):
    reused, real = [], logprobs._Room.softmax
    monkeypatch.setattr(
        logprobs._Room, "softmax", lambda room, logits: reused.append(len(logits)) or real(room, logits)
    )
    states, weight = random_head((1, 3, 4), (3, 4))
    with torch.no_grad():
        of_states(states, weight, batch([0, 1, 1, 1]), False)
    assert reused == [3]  # into memory that the next part has again
