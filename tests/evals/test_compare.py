"""Paired comparison of two evaluations."""

import pytest

from whet.errors import DataError
from whet.evals.compare import compare


def test_the_difference_is_paired_by_problem_whatever_the_order(record):
    a = [record(f"p{i}", value=v) for i, v in enumerate([1, 0, 0, 0])]
    b = [record(f"p{i}", value=v) for i, v in enumerate([1, 1, 0, 1])][::-1]
    (found,) = compare(a, b)
    assert (found.metric, found.a, found.b) == ("pass@1", 0.25, 0.75)
    # d = 0, 1, 0, 1: SE 0.288675, t_3 = 3.182446
    assert found.difference.half_width == pytest.approx(0.918693, abs=1e-5)
    assert not found.separated
    assert "not separated" in str(found)


def test_a_large_difference_is_separated(record):
    a = [record(f"p{i}", value=float(i < 10)) for i in range(60)]
    b = [record(f"p{i}", value=float(i < 40)) for i in range(60)]
    (found,) = compare(a, b)
    assert found.difference.mean == 0.5
    assert found.separated


def test_several_samples_of_a_problem_are_one_observation(record):
    a = [record(f"p{i}", s, 0.0) for i in range(3) for s in range(8)]
    b = [record(f"p{i}", s, float(s < 4)) for i in range(3) for s in range(8)]
    (found,) = compare(a, b)
    assert (found.difference.mean, found.difference.n) == (0.5, 3)


def test_greedy_is_compared_with_greedy(record):
    a = [record("p", value=0.0), record("p", value=1.0, greedy=True)]
    found = compare(a, [record("p", value=1.0, greedy=True)])
    assert [(c.metric, c.a, c.b) for c in found] == [("greedy", 1.0, 1.0)]


def test_problems_of_one_side_and_failures_are_left_out_and_counted(record):
    a = [record("x"), record("y"), record("z", value=None)]
    b = [record("x", value=0.0), record("z"), record("w")]
    (found,) = compare(a, b)
    assert (found.difference.n, found.unpaired) == (1, 3)  # y, z, w


def test_other_problems_cannot_be_compared(record):
    with pytest.raises(DataError, match="no scored problem in common"):
        compare([record("a")], [record("b")])
    with pytest.raises(DataError, match="two prompts"):
        compare([record("a")], [record("a", prompt="reworded")])
