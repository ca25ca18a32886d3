"""What a finite number of samples says: pass@k, clustered errors, 95% intervals, effective sample size.

Plain Python, so that a report needs no torch. Sums are exactly rounded (`math.fsum`): no result depends on
the order of the samples. Several samples of one problem are not independent, hence errors are clustered by
problem.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float
    half_width: float
    """Half of high - low. The interval of a proportion is not symmetric about the mean."""
    n: int
    """Values."""
    clusters: int
    """Independent units, such as problems."""

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate of the chance that at least one of k completions is right, c of n being right.

    1 - C(n-c, k) / C(n, k) = 1 - prod_{i=n-c+1..n} (1 - k/i), and 1 when fewer than k are wrong. Its mean
    over problems is pass@k (Chen et al. 2021, arXiv 2107.03374, section 2.1). 1 - (1 - c/n)^k is biased low.
    Needs 1 <= k <= n.
    """
    _check_counts(n, c, k)
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def pass_hat_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate of the chance that all k completions are right: C(c, k) / C(n, k).

    Known as pass^k (Yao et al. 2024, arXiv 2406.12045). Needs 1 <= k <= n.
    """
    _check_counts(n, c, k)
    return math.comb(c, k) / math.comb(n, k)


def clustered_standard_error(
    values: Sequence[float], clusters: Sequence[Hashable], weights: Sequence[float] | None = None
) -> float:
    """The standard error of the weighted mean m = sum w x / sum w, from C independent clusters.

    sqrt(C / (C-1) * sum_c (sum_{i in c} w_i (x_i - m))^2) / sum w. With one value per cluster and equal
    weights it is std(ddof=1) / sqrt(n). Weights make m a ratio of sums, such as a mean per token with w the
    number of tokens. One cluster says nothing about the spread between clusters: the error is inf. Source:
    Miller 2024, arXiv 2411.00640, with the finite-cluster factor C / (C-1).
    """
    weights = weights or [1.0] * len(values)
    total = math.fsum(weights)
    mean = math.fsum(w * x for w, x in zip(weights, values, strict=True)) / total
    residuals: dict[Hashable, list[float]] = {}
    for x, w, cluster in zip(values, weights, clusters, strict=True):
        residuals.setdefault(cluster, []).append(w * (x - mean))
    count = len(residuals)
    if count < 2:
        return math.inf
    squares = math.fsum(math.fsum(r) ** 2 for r in residuals.values())
    return math.sqrt(count / (count - 1) * squares) / total


def confidence_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    proportion: bool = False,
    weights: Sequence[float] | None = None,
) -> Interval:
    """The mean and its 95% interval, clusters being the independent units.

    A mean of any numbers: mean +- t SE, with the clustered error and Student's t at C-1 degrees of freedom,
    because SE is itself estimated from C clusters. One cluster: -inf to inf.

    `proportion=True` is for 0/1 values and for rates in [0, 1], without weights: Wilson's score interval
    (1927), which stays inside [0, 1] and keeps a width when every value is 0 or 1, where the normal interval
    has none. One 0/1 value per cluster is the textbook case, with n trials and the normal quantile. Otherwise
    the number of trials is the effective one, p (1-p) / SE^2, and the quantile is Student's (Korn and
    Graubard 1998, Survey Methodology 24; Franco et al. 2019, J. Survey Statistics and Methodology 7, for
    Wilson in this place). Where SE is 0 each cluster counts as one trial. One cluster with several values: 0
    to 1.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    if proportion:
        return _proportion(values, clusters)
    divisor = math.fsum(weights) if weights else len(values)
    mean = math.fsum(w * x for w, x in zip(weights or [1.0] * len(values), values, strict=True)) / divisor
    error = clustered_standard_error(values, clusters, weights)
    count = len(set(clusters))
    half = _t_quantile(count - 1) * error if count > 1 else math.inf
    return Interval(mean, mean - half, mean + half, half, len(values), count)


def crossed_interval(rows: Sequence[Sequence[float]], *, proportion: bool = False) -> Interval:
    """The mean of a table whose R rows and C columns are both samples, with its 95% interval.

    For instance seeds x problems: what holds for other seeds and for other problems. With x_rc = m + a_r + b_c + e_rc,
    all independent, the variance of the mean is var(a)/R + var(b)/C + var(e)/(RC). Estimated by

        SE^2 = V_R + max(0, V_C - V_E),  V_R = var(row means)/R,  V_C = var(column means)/C,
        V_E = sum (x_rc - row_r - column_c + m)^2 / ((R-1)(C-1)) / (RC)

    and used with Student's t at the degrees of freedom of Satterthwaite, SE^4 / (V_R^2/(R-1) + (V_C-V_E)^2/(C-1)),
    rounded down. Equal rows give the interval over columns alone, and equal columns that over rows. One row (or one
    column) says nothing about rows: the interval is the one over the others. `clusters` is C.
    `proportion=True`: Wilson's interval for values in [0, 1], as in `confidence_interval`. Source: two-way random
    effects as in studies of several readers and cases (Obuchowski and Rockette 1995; the truncation and degrees of
    freedom of Hillis 2007, Statistics in Medicine 26, 596).
    """
    shape = len(rows), len(rows[0]) if rows else 0
    if min(shape) == 0 or any(len(row) != shape[1] for row in rows):
        raise ValueError("an interval needs a full table with at least one value")
    if min(shape) == 1:
        values = [x for row in rows for x in row]
        return confidence_interval(values, range(len(values)), proportion=proportion)
    mean = math.fsum(x for row in rows for x in row) / (shape[0] * shape[1])
    error, degrees = _crossed_error(rows, mean)
    count = shape[0] * shape[1]
    t = _t_quantile(degrees)
    if not proportion:
        return Interval(mean, mean - t * error, mean + t * error, t * error, count, shape[1])
    trials = mean * (1 - mean) / error**2 if error > 1e-12 else shape[1]
    return _wilson(mean, count, shape[1], trials=trials, z=t)


def crossed_difference(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Interval:
    """The mean of a_rc - b_rc over the same rows and columns, with the interval of `crossed_interval`.

    Two systems on the same problems (columns), each with one seed or several (rows). Pairing removes the spread
    between problems that both share, so it is never wrong and usually narrower (Miller 2024, arXiv 2411.00640). For
    0/1 values the error is at least 1 / (C+2), what the "Wald + 2" interval for matched pairs gives when no pair
    differs (Agresti and Min 2005, Statistics in Medicine 24, 729): without it two models that agree on ten problems
    would be proven equal.
    """
    rows = [[x - y for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]
    plain, pairs = crossed_interval(rows), len(rows[0])
    if pairs < 2 or not _all_binary([x for row in (*a, *b) for x in row]):
        return plain
    half = max(plain.half_width, _t_quantile(pairs - 1) / (pairs + 2))
    return Interval(plain.mean, plain.mean - half, plain.mean + half, half, plain.n, plain.clusters)


def kish_ess(weights: Sequence[float], *, log: bool = False) -> float:
    """The effective number of equally weighted samples, (sum w)^2 / sum w^2, in [1, n].

    Kish 1965, Survey Sampling. Scale-free: n for equal weights, 1 for a single non-zero one, ESS / n = 1 / (1
    + CV^2). `log=True` takes log w, as for importance ratios; the largest is subtracted first, so nothing
    overflows. All weights 0, or none: 0.
    """
    if log:
        top = max(weights, default=-math.inf)
        weights = [math.exp(w - top) for w in weights] if math.isfinite(top) else []
    squares = math.fsum(w * w for w in weights)
    return math.fsum(weights) ** 2 / squares if squares > 0 else 0.0


def quantile(values: Sequence[float], level: float) -> float:
    """The value below which a share `level` of the values lies, linear between order statistics."""
    ordered = sorted(values)
    place = min(max(level, 0.0), 1.0) * (len(ordered) - 1)
    lower = math.floor(place)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (place - lower) * (ordered[upper] - ordered[lower])


def quantile_interval(values: Sequence[float], clusters: Sequence[Hashable], level: float) -> Interval:
    """A quantile (in the field `mean`) and its 95% interval.

    The interval of the proportion of values at or below the quantile, shifted to `level`, read back through
    the empirical quantiles (Woodruff 1952, JASA 47, 635).
    """
    value = quantile(values, level)
    # The share at or below the estimate overshoots `level` where values tie, as lengths do; only its error is
    # used.
    share = confidence_interval([float(x <= value) for x in values], clusters, proportion=True)
    low = quantile(values, level - (share.mean - share.low))
    high = quantile(values, level + (share.high - share.mean))
    return Interval(value, low, high, (high - low) / 2, len(values), share.clusters)


def _check_counts(n: int, c: int, k: int) -> None:
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"expected 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")


def _crossed_error(rows: Sequence[Sequence[float]], mean: float) -> tuple[float, int]:
    """The standard error of the mean of a table, and its degrees of freedom; see `crossed_interval`."""
    r, c = len(rows), len(rows[0])
    across = [math.fsum(row) / c for row in rows]
    down = [math.fsum(column) / r for column in zip(*rows, strict=True)]
    by_row = math.fsum((x - mean) ** 2 for x in across) / (r - 1) / r
    by_column = math.fsum((x - mean) ** 2 for x in down) / (c - 1) / c
    left = (
        x - p - q + mean for row, p in zip(rows, across, strict=True) for x, q in zip(row, down, strict=True)
    )
    rest = math.fsum(x * x for x in left) / ((r - 1) * (c - 1)) / (r * c)
    by_column = max(0.0, by_column - rest)
    variance = by_row + by_column
    if variance < 1e-24:  # 0 in exact arithmetic
        return 0.0, c - 1
    degrees = variance**2 / (by_row**2 / (r - 1) + by_column**2 / (c - 1))
    return math.sqrt(variance), max(1, math.floor(degrees + 1e-9))


def _all_binary(values: Sequence[float]) -> bool:
    return all(x in (0.0, 1.0) for x in values)


def _proportion(values: Sequence[float], clusters: Sequence[Hashable]) -> Interval:
    if not all(0.0 <= x <= 1.0 for x in values):
        raise ValueError("a proportion is a mean of values in [0, 1]")
    n, count = len(values), len(set(clusters))
    mean = math.fsum(values) / n
    if count == n and _all_binary(values):
        return _wilson(mean, n, count, trials=n, z=NormalDist().inv_cdf((1 + CONFIDENCE) / 2))
    if count < 2:
        return Interval(mean, 0.0, 1.0, 0.5, n, count)
    error = clustered_standard_error(values, clusters)
    # An error that is 0 in exact arithmetic comes out as up to 1e-17.
    trials = mean * (1 - mean) / error**2 if error > 1e-12 else count
    return _wilson(mean, n, count, trials=trials, z=_t_quantile(count - 1))


def _wilson(p: float, n: int, clusters: int, *, trials: float, z: float) -> Interval:
    """The rates r with |p - r| <= z sqrt(r (1-r) / trials)."""
    shrink = 1 + z * z / trials
    centre = (p + z * z / (2 * trials)) / shrink
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2)) / shrink
    # The ends are exactly 0 and 1 at p = 0 and 1; rounding may leave them 1e-17 off.
    low, high = (0.0 if p == 0 else centre - half), (1.0 if p == 1 else centre + half)
    return Interval(p, max(low, 0.0), min(high, 1.0), half, n, clusters)


@lru_cache(maxsize=256)
def _t_quantile(degrees: int) -> float:
    """The two-sided 95% quantile of Student's t, by bisection of its distribution function."""
    low, high = 0.0, 16.0  # t is 12.706 at one degree of freedom
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _t_inside(middle, degrees) < CONFIDENCE else (low, middle)
    return (low + high) / 2


def _t_inside(t: float, degrees: int) -> float:
    """P(|T| < t): the finite series of Abramowitz and Stegun 26.7.3 (odd degrees) and 26.7.4 (even)."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    series = term if degrees > 1 else 0.0
    for i in range(2 + odd, degrees - 1, 2):
        term *= cosine * cosine * (i - 1) / i
        series += term
    return 2 / math.pi * (angle + sine * series) if odd else sine * series
