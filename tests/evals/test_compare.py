"""Comparisons of systems, by problem and by seed."""

import pytest

from whet.errors import DataError
from whet.evals.compare import accuracy, compare, rates


def of(values, **changes):
    """Rates of problems p0, p1, ..."""
    return {(f"p{i}", f"p{i}?"): float(v) for i, v in enumerate(values)}


def test_rates_pool_the_samples_of_a_problem_and_leave_failures_out(record):
    kept = [record("p", 0, 1.0), record("p", 1, 0.5), record("q", 0, None), record("p", greedy=True)]
    assert rates(kept, "pass@1") == {("p", "p?"): 0.5}
    assert rates(kept, "pass@1", threshold=0.5) == {("p", "p?"): 1.0}
    assert rates(kept, "greedy") == {("p", "p?"): 1.0}


def test_the_difference_is_paired_by_problem_whatever_the_order():
    a, b = of([1, 1, 0, 1]), dict(reversed(of([1, 0, 0, 0]).items()))
    found = compare([a], [b])
    assert (found.a, found.b, found.difference.mean) == (0.75, 0.25, 0.5)
    # d = 0, 1, 0, 1: SE 0.288675, t_3 = 3.182446
    assert found.difference.half_width == pytest.approx(0.918693, abs=1e-5)


def test_several_seeds_that_agree_separate_and_one_seed_never_does():
    a, b = of([1] * 40 + [0] * 20), of([1] * 10 + [0] * 50)
    assert compare([a] * 3, [b] * 3).separated
    assert compare([a], [b]).difference.excludes_zero
    assert not compare([a], [b]).separated


def test_seeds_that_disagree_are_not_separated():
    good, bad = of([1] * 45 + [0] * 15), of([1] * 15 + [0] * 45)
    found = compare([good, good, bad], [bad, bad, good])
    # by seed +0.5, +0.5, -0.5: mean 1/6, SE 1/3 over seeds alone
    assert found.difference.mean == pytest.approx(1 / 6)
    assert not found.separated


def test_problems_that_one_evaluation_lacks_are_left_out():
    found = compare([of([1, 0, 1])], [of([0, 0])])
    assert (found.problems, found.a, found.b) == (2, 0.5, 0.0)
    assert accuracy([of([1, 0, 1]), of([1, 1])]).clusters == 2


def test_a_question_in_other_words_is_another_problem():
    with pytest.raises(DataError, match="no problem in common"):
        compare([{("p", "1+2=")}], [{("p", "one plus two")}])
    assert accuracy([]) is None
