"""Keys: published outputs of SplitMix64, one result on every device, and numbers that look random."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import seeding

# The first outputs of the reference implementation of SplitMix64 (Vigna, splitmix64.c) from state 1234567.
REFERENCE = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]
int64 = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize("position", range(5))
def test_a_uniform_is_the_top_24_bits_of_the_published_generator(position: int) -> None:
    assert seeding.uniform(1234567, position) == (REFERENCE[position] >> 40) / 2**24


def test_randint_reduces_the_published_output_without_its_lowest_8_bits() -> None:
    # 6457827717110365317 // 256 = 25225889519962364; % 10 = 4, so 100 + 4
    assert seeding.randint(1234567, 100, 109) == 104


@settings(max_examples=50, deadline=None)
@given(keys=st.lists(int64, min_size=1, max_size=20), position=st.integers(0, 2**40))
def test_torch_draws_the_bits_that_python_draws(keys: list[int], position: int) -> None:
    drawn = seeding.uniforms(torch.tensor(keys), torch.tensor(position))
    assert drawn.tolist() == [seeding.uniform(key, position) for key in keys]


def test_uniforms_broadcast_keys_against_positions() -> None:
    drawn = seeding.uniforms(torch.tensor([[3], [-9]]), torch.arange(4))
    assert drawn.tolist() == [[seeding.uniform(key, t) for t in range(4)] for key in (3, -9)]


def test_a_key_is_a_signed_64_bit_integer() -> None:
    keys = [seeding.key(seed, "rollout", 3) for seed in range(200)]
    assert min(keys) < 0 < max(keys)
    assert torch.tensor(keys).tolist() == keys


def test_seed_purpose_and_every_index_change_the_key() -> None:
    keys = {
        seeding.key(seed, purpose, *indices)
        for seed in (0, 1, -1)
        for purpose in ("rollout", "prompts")
        for indices in ((), (0,), (1,), (0, 0), (0, 1), (1, 0))
    }
    assert len(keys) == 3 * 2 * 6


def chi_square(numbers: torch.Tensor, cells: int) -> float:
    """sum (observed - expected)^2 / expected over equal cells of [0, 1)."""
    observed = torch.bincount((numbers.double() * cells).long(), minlength=cells).double()
    expected = len(numbers) / cells
    return float(((observed - expected) ** 2 / expected).sum())


# 99 degrees of freedom: 99.9% of uniform samples are below 148.2 and 99.9% above 60.3.
@pytest.mark.parametrize("purpose", ["rollout", "prompts", "eval"])
def test_neighbouring_steps_give_uniform_numbers(purpose: str) -> None:
    keys = torch.tensor([seeding.key(0, purpose, step) for step in range(20_000)])
    assert 60.3 < chi_square(seeding.uniforms(keys, torch.tensor(0)), 100) < 148.2


def test_the_positions_of_one_key_give_uniform_numbers() -> None:
    drawn = seeding.uniforms(torch.tensor(seeding.key(0, "rollout", 0)), torch.arange(20_000))
    assert 60.3 < chi_square(drawn, 100) < 148.2


@pytest.mark.parametrize("other", [(0, 1), (1, 0), (1, 1)])
def test_neighbouring_keys_draw_independent_numbers(other: tuple[int, int]) -> None:
    # Pairs (u of one key, u of its neighbour) fall uniformly into the 10 x 10 cells of the unit square.
    first = torch.tensor([seeding.key(0, "rollout", step, step) for step in range(20_000)])
    second = torch.tensor([seeding.key(0, "rollout", s + other[0], s + other[1]) for s in range(20_000)])
    u, v = (seeding.uniforms(keys, torch.tensor(0)) for keys in (first, second))
    cells = ((u * 10).floor() * 10 + (v * 10).floor()) / 100 + 0.005
    assert 60.3 < chi_square(cells, 100) < 148.2


def test_uniforms_lie_in_the_half_open_unit_interval() -> None:
    drawn = seeding.uniforms(torch.arange(200_000), torch.tensor(0))
    # The expected largest of 200,000 is 1 - 1/200,001; the largest possible is 1 - 2**-24.
    assert 0.9999 < float(drawn.max()) < 1.0
    assert 0.0 <= float(drawn.min()) < 0.0001


def test_a_permutation_holds_every_number_once() -> None:
    assert sorted(seeding.permutation(7, 1000)) == list(range(1000))


def test_permutations_of_three_come_equally_often() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for step in range(6000):
        order = tuple(seeding.permutation(seeding.key(0, "prompts", step), 3))
        counts[order] = counts.get(order, 0) + 1
    # 6 orders, 1000 expected of each; 5 degrees of freedom: 99.9% of samples stay below 20.5.
    assert len(counts) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 20.5


def test_randint_reaches_both_ends_and_nothing_beyond() -> None:
    drawn = {seeding.randint(5, -2, 2, position) for position in range(200)}
    assert drawn == {-2, -1, 0, 1, 2}


def test_choice_takes_the_item_at_the_drawn_index() -> None:
    # randint(1234567, 0, 2): 25225889519962364 % 3 = 2
    assert seeding.choice(1234567, ["a", "b", "c"]) == "c"
