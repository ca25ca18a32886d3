"""Statistics against exact rationals, hand arithmetic, published tables and enumeration."""

import math
import random
from fractions import Fraction
from itertools import combinations

import pytest

from whet import seeding
from whet.functional import statistics as st


def test_pass_at_k_equals_the_exact_rational_for_all_small_counts():
    for n in range(1, 21):
        for c in range(n + 1):
            for k in range(1, n + 1):
                exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
                assert st.pass_at_k(n, c, k) == pytest.approx(float(exact), abs=1e-15)


def test_pass_at_k_is_the_share_of_subsets_that_hold_a_right_one():
    # 2 of 6 right, k = 3: of the 20 subsets of three, the 4 without either right one fail.
    subsets = list(combinations([True, True, False, False, False, False], 3))
    assert len(subsets) == 20
    assert sum(map(any, subsets)) == 16
    assert st.pass_at_k(6, 2, 3) == pytest.approx(16 / 20, abs=1e-15)


def test_pass_at_k_of_the_published_example_is_not_the_biased_one():
    assert st.pass_at_k(8, 2, 4) == pytest.approx(
        0.785714, abs=1e-6
    )  # 1 - 15/70; biased: 1 - 0.75^4 = 0.683594


def test_pass_hat_k_is_the_share_of_subsets_that_are_all_right():
    assert st.pass_hat_k(8, 2, 2) == pytest.approx(1 / 28, abs=1e-15)
    assert st.pass_hat_k(8, 1, 2) == 0.0
    assert st.pass_hat_k(8, 8, 3) == 1.0


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_counts_that_cannot_be_are_refused(n, c, k):
    with pytest.raises(ValueError, match=f"n={n}, c={c}, k={k}"):
        st.pass_at_k(n, c, k)
    with pytest.raises(ValueError, match=f"n={n}, c={c}, k={k}"):
        st.pass_hat_k(n, c, k)


def test_samples_of_one_problem_widen_the_standard_error():
    # mean 0.5; cluster sums of deviations +1 and -1; sqrt(2/1 * (1 + 1)) / 4 = 0.5
    assert st.clustered_standard_error([1, 1, 0, 0], "aabb") == pytest.approx(0.5, abs=1e-15)


def test_one_sample_per_cluster_gives_the_plain_standard_error():
    # deviations +-0.5: variance 4 * 0.25 / 3 = 1/3; sqrt(1/3 / 4) = 0.288675
    assert st.clustered_standard_error([1, 1, 0, 0], range(4)) == pytest.approx(0.288675, abs=1e-6)


def test_one_cluster_says_nothing_about_the_spread():
    assert st.clustered_standard_error([1, 0, 1], "aaa") == math.inf


def test_weights_act_as_repeated_values():
    # A completion with 3 tokens of mean entropy 0.5 is three values of 0.5 in the same cluster.
    repeated = st.clustered_standard_error([0.5, 0.5, 0.5, 2.0, 1.0, 1.0], "aaabcc")
    assert st.clustered_standard_error([0.5, 2.0, 1.0], "abc", [3, 1, 2]) == pytest.approx(
        repeated, abs=1e-15
    )
    weighted = st.confidence_interval([0.5, 2.0, 1.0], "abc", weights=[3, 1, 2])
    assert weighted.mean == pytest.approx(5.5 / 6, abs=1e-15)
    # residuals 3 * -5/12, 13/12, 2 * 1/12: squares (225 + 169 + 4) / 144; sqrt(3/2 * 398/144) / 6 = 0.339356
    assert weighted.half_width == pytest.approx(4.302653 * 0.339356, abs=1e-5)


def test_student_quantiles_equal_the_printed_table():
    # Two-sided 95%: any table of Student's t.
    table = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 7: 2.3646, 10: 2.2281, 30: 2.0423, 120: 1.9799}
    assert {d: round(st._t_quantile(d), 4) for d in table} == table


def test_a_mean_of_numbers_gets_student_width():
    # [2, 4, 6]: mean 4, std 2, SE 2/sqrt(3) = 1.154701, t_2 = 4.302653: 4.968275
    interval = st.confidence_interval([2, 4, 6], range(3))
    assert (interval.mean, interval.n, interval.clusters) == (4.0, 3, 3)
    assert interval.half_width == pytest.approx(4.968275, abs=1e-5)
    assert interval.low == pytest.approx(4 - 4.968275, abs=1e-5)  # not clipped at 0


def test_one_cluster_leaves_a_number_open_and_a_proportion_between_0_and_1():
    assert st.confidence_interval([3.0, 4.0], "aa").half_width == math.inf
    assert st.confidence_interval([1, 0], "aa", proportion=True) == st.Interval(0.5, 0.0, 1.0, 0.5, 2, 1)


def test_wilson_equals_a_published_example():
    # Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 3: 81/263 and 15/148.
    for right, n, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]:
        interval = st.confidence_interval([1] * right + [0] * (n - right), range(n), proportion=True)
        assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_a_perfect_score_keeps_a_width():
    interval = st.confidence_interval([1] * 500, range(500), proportion=True)
    # z^2 / (n + z^2) = 3.841459 / 503.841459 = 0.007624
    assert interval.high == 1.0
    assert interval.low == pytest.approx(1 - 0.007624, abs=1e-6)


def test_identical_samples_of_a_problem_count_once():
    # 20 problems x 8 equal samples say as much as 20 samples; only the quantile differs (t_19 = 2.093 for
    # 1.960).
    many = st.confidence_interval([0.0] * 160, [i // 8 for i in range(160)], proportion=True)
    assert many.high == pytest.approx(2.093024**2 / (20 + 2.093024**2), abs=1e-6)
    mixed = [float(i % 20 < 8) for i in range(160)]
    half = st.confidence_interval(mixed, [i % 20 for i in range(160)], proportion=True).half_width
    once = st.confidence_interval(mixed[:20], range(20), proportion=True).half_width
    assert 1.0 < half / once < 1.1


def test_equal_rates_in_every_problem_count_one_trial_per_problem():
    # Every problem is right once in three: SE is 0 up to rounding, and must not make the interval a point.
    interval = st.confidence_interval([1, 0, 0] * 50, [i // 3 for i in range(150)], proportion=True)
    assert interval.half_width == pytest.approx(2.01 * math.sqrt(2 / 9 / 50), rel=0.1)


def test_proportions_refuse_other_numbers():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        st.confidence_interval([0.5, 2.0], range(2), proportion=True)


@pytest.mark.parametrize("rate", [0.01, 0.03, 0.5, 0.97])
def test_coverage_over_all_outcomes_of_forty_problems_is_near_95_percent(rate):
    covered = 0.0
    for right in range(41):
        interval = st.confidence_interval([1] * right + [0] * (40 - right), range(40), proportion=True)
        chance = math.comb(40, right) * rate**right * (1 - rate) ** (40 - right)
        covered += chance * (interval.low <= rate <= interval.high)
    assert 0.92 <= covered <= 0.99  # mean +- 1.96 SE covers 33% of the time at a rate of 0.01


def test_coverage_with_clusters_is_near_95_percent():
    # 25 problems with success rates uniform in [0, 1] x 6 samples, 600 times; the true mean is 0.5.
    covered = naive = 0
    for trial in range(600):
        values = []
        for problem in range(25):
            rate = seeding.uniform(seeding.key(trial, "rate", problem))
            draws = [seeding.uniform(seeding.key(trial, "draw", problem), i) for i in range(6)]
            values += [float(u < rate) for u in draws]
        clustered = st.confidence_interval(values, [i // 6 for i in range(150)], proportion=True)
        plain = st.confidence_interval(values, range(150), proportion=True)
        covered += clustered.low <= 0.5 <= clustered.high
        naive += plain.low <= 0.5 <= plain.high
    assert 0.93 <= covered / 600 <= 0.975
    assert naive / 600 < 0.85


def test_pairing_removes_what_both_share():
    difference = st.crossed_difference([[1, 1, 0, 1]], [[1, 0, 0, 0]])
    # d = 0, 1, 0, 1: mean 0.5, SE 0.288675, t_3 = 3.182446
    assert difference.mean == 0.5
    assert difference.half_width == pytest.approx(0.288675 * 3.182446, abs=1e-5)
    assert not difference.excludes_zero


def test_a_steady_difference_is_separated_although_the_problems_differ_more():
    a = [i + 1 + 0.1 * (i % 2) for i in range(10)]
    assert st.crossed_difference([a], [list(range(10))]).excludes_zero
    assert st.crossed_difference([list(range(10))], [a]).excludes_zero


def test_agreement_on_ten_yes_no_problems_does_not_prove_equality():
    difference = st.crossed_difference([[1] * 10], [[1] * 10])
    assert difference.mean == 0.0
    assert difference.half_width == pytest.approx(2.262157 / 12, abs=1e-6)  # t_9 / (C + 2)


def test_rows_that_all_say_the_same_leave_the_interval_over_columns():
    rows = [[0.0, 1.0, 1.0, 1.0]] * 3
    found = st.crossed_interval(rows)
    # mean 0.75, var(column means) = 0.25, SE = sqrt(0.25 / 4) = 0.25, t_3 = 3.182446
    assert (found.mean, found.n, found.clusters) == (0.75, 12, 4)
    assert found.half_width == pytest.approx(0.25 * 3.182446, abs=1e-5)


def test_columns_that_all_say_the_same_leave_the_t_interval_over_row_means():
    rows = [[level] * 5 for level in (0.2, 0.5, 0.8)]
    # SE = 0.3 / sqrt(3), t_2 = 4.302653
    assert st.crossed_interval(rows).half_width == pytest.approx(0.3 / 3**0.5 * 4.302653, abs=1e-5)


def test_a_crossed_error_adds_rows_and_columns_by_hand():
    rows = [[1.0, 2.0, 6.0], [4.0, 5.0, 9.0]]  # 1, 2, 6 plus 0 or 3: nothing is left
    # V_R = 4.5/2 = 2.25; column means 2.5, 3.5, 7.5: var 7, V_C = 7/3; SE^2 = 4.58333
    # degrees 4.58333^2 / (2.25^2/1 + 2.33333^2/2) = 2.701, so t_2 = 4.302653
    found = st.crossed_interval(rows)
    assert found.mean == 4.5
    assert found.half_width == pytest.approx(4.58333**0.5 * 4.302653, abs=1e-4)


def test_one_row_is_the_interval_over_its_columns():
    row = [0.0, 1.0, 1.0, 0.0, 1.0]
    assert st.crossed_interval([row]) == st.confidence_interval(row, range(5))
    assert st.crossed_interval([row], proportion=True) == st.confidence_interval(
        row, range(5), proportion=True
    )


def test_three_seeds_that_got_all_right_are_not_certain():
    found = st.crossed_interval([[1.0] * 20] * 3, proportion=True)
    # Wilson at p = 1 with 20 trials and t_19 = 2.093024: 1 / (1 + t^2 / 20) = 0.820316
    assert (found.mean, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.820316, abs=1e-5)


@pytest.mark.parametrize("seed_spread", [0.0, 0.3])
def test_a_crossed_interval_covers_where_problems_alone_do_not(seed_spread):
    draw = random.Random(1)
    covered = naive = 0
    for _ in range(400):
        problems = [draw.gauss(0, 0.3) for _ in range(20)]
        seeds = [draw.gauss(0, seed_spread) for _ in range(3)]
        rows = [[s + p + draw.gauss(0, 0.3) for p in problems] for s in seeds]
        crossed = st.crossed_interval(rows)
        plain = st.confidence_interval([x for row in rows for x in row], [*range(20)] * 3)
        covered += crossed.low <= 0 <= crossed.high
        naive += plain.low <= 0 <= plain.high
    assert 0.91 <= covered / 400 <= 0.98
    assert (naive / 400 < 0.7) == (seed_spread > 0)


def test_effective_sample_size_by_hand_and_at_its_ends():
    assert st.kish_ess([1, 1, 2]) == pytest.approx(16 / 6, abs=1e-12)
    assert st.kish_ess([3.0] * 7) == pytest.approx(7, abs=1e-12)
    assert st.kish_ess([0, 5, 0]) == 1.0
    assert st.kish_ess([]) == st.kish_ess([0.0, 0.0]) == 0.0


def test_effective_sample_size_of_log_weights_does_not_overflow():
    assert st.kish_ess([1000.0, 1000.0, 1000.0 + math.log(2)], log=True) == pytest.approx(16 / 6, abs=1e-9)
    assert st.kish_ess([-2000.0, -math.inf], log=True) == 1.0


def test_quantiles_are_linear_between_order_statistics():
    assert st.quantile([4, 1, 3, 2], 0.5) == 2.5
    assert st.quantile([10, 20], 0.95) == pytest.approx(19.5, abs=1e-12)
    assert st.quantile([7], 0.95) == 7


def test_a_quantile_interval_reads_the_shares_back_through_the_values():
    interval = st.quantile_interval(list(range(101)), range(101), 0.5)
    assert interval.mean == 50
    # Wilson for 51 of 101 is [0.4093, 0.6003], that is -0.0957 and +0.0954 around its share
    assert (interval.low, interval.high) == (pytest.approx(40.4, abs=0.2), pytest.approx(59.5, abs=0.2))


def test_results_do_not_depend_on_the_order():
    values = [seeding.uniform(seeding.key(1, "v"), i) * 10.0**i for i in range(12)]
    clusters = [i % 4 for i in range(12)]
    assert st.confidence_interval(values[::-1], clusters[::-1]) == st.confidence_interval(values, clusters)
