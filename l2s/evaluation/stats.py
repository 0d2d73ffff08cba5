"""Statistics of scores: intervals, paired comparisons, and the smallest difference that the items could show.

Scores lie in [0, 1] and differences in [-1, 1]. An interval covers 95%. Every random draw has a fixed seed, so the same
scores give the same numbers. Imports nothing from l2s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

Vector = NDArray[np.float64]

ALPHA = 0.05
RESAMPLES = 9_999
SEED = 20_240_229
BLOCK_NUMBERS = 8_000_000  # 64 MB; all samples of up to 800 units at once
UNRELATED_MODELS = 0.5  # discordance of two independent models that are both right half the time
MCNEMAR, SIGN_FLIP = "mid-p McNemar", "sign-flip permutation"


class Interval(NamedTuple):
    """Lower and upper bound of a 95% interval."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def clip(self, low: float, high: float) -> Interval:
        """The interval limited to [low, high], the range that the quantity can have."""
        return Interval(min(max(self.low, low), high), min(max(self.high, low), high))


@dataclass(frozen=True)
class PairedComparison:
    """Two models, a and b, compared on the same items.

    Attributes:
        difference: mean(a) - mean(b).
        ci95: its bootstrap interval.
        p_value: two-sided p-value of the hypothesis that neither model is better.
        test: MCNEMAR or SIGN_FLIP.
        n: number of items.
        units: number of resampled units, which are items or clusters.
        wins, losses: number of items on which a scored above b, and below b.
        discordance: share of discordant pairs under MCNEMAR, else the variance of an item's difference.
        smallest_step: smallest nonzero difference of an item; 1 if there is none.
        largest_step: largest difference that an item can show: 1 for scores, else the largest observed.
        effective_n: number of independent items that carry the same information.
    """

    difference: float
    ci95: Interval
    p_value: float
    test: str
    n: int
    units: int
    wins: int
    losses: int
    discordance: float
    smallest_step: float
    largest_step: float
    effective_n: float

    def minimum_detectable_difference(self, tests: int = 1) -> float | None:
        """The smallest difference that these items show with 80% power, beside `tests` - 1 other tests."""
        scale = self.largest_step
        alpha = ALPHA / tests  # the strictest level of Holm's procedure
        step, spread = self.smallest_step / scale, self.discordance / scale**2
        if self.test == MCNEMAR:
            found = minimum_detectable_difference(self.effective_n, discordance=spread, smallest_step=step, alpha=alpha)
        else:
            found = minimum_detectable_mean(
                self.effective_n, units=self.units, variance=spread, smallest_step=step, alpha=alpha
            )
        return None if found is None else found * scale


@dataclass(frozen=True)
class GapRecovered:
    """(model - base) / (teacher - base); 1 means that the student reached the teacher.

    `ratio` and `ci95` are None unless the interval of teacher - base lies above 0: otherwise no gap is known to exist.
    """

    ratio: float | None
    ci95: Interval | None
    gap: float  # teacher - base
    gap_ci95: Interval


def wilson_interval(successes: float, n: int) -> Interval:
    """Wilson's score interval of a proportion.

    Raises:
        ValueError: n is not positive, or `successes` is not within 0..n.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"wilson_interval: expected 0 <= successes <= n and n > 0, got {successes} of {n}")
    low, high = proportion_confint(successes, n, alpha=ALPHA, method="wilson")
    return Interval(float(low), float(high)).clip(0, 1)


def mean_interval(scores: ArrayLike, *, clusters: Sequence[Hashable] | None = None) -> Interval:
    """Interval of a mean score: Wilson's for independent 0/1 scores, else a bootstrap over items or clusters.

    Where all units have the same score, a bootstrap interval has width 0. Wilson's interval is used instead: it is the
    widest for any scores in [0, 1] with that mean, and its width depends on the number of units.

    Raises:
        ValueError: there is no score.
    """
    values = _vector(scores)
    if clusters is None and _is_binary(values):
        return wilson_interval(float(values.sum()), len(values))
    sums, counts = _by_cluster(values, clusters)
    if _is_constant(sums / counts):
        return wilson_interval(float(values.mean()) * len(sums), len(sums))
    return ratio_interval(sums, counts).clip(0, 1)


def ratio_interval(numerators: ArrayLike, denominators: ArrayLike) -> Interval:
    """Bootstrap interval of sum(numerators) / sum(denominators) over independent units.

    Each bound is the wider one of the studentised and the percentile bootstrap (Efron and Tibshirani 1993, chapters 12
    and 13). The studentised bootstrap keeps its coverage with few or skewed units; the percentile bootstrap keeps it
    where most units are alike. Denominators may have both signs if their sum is positive. Samples whose sum is not
    positive are rare, have no ratio and are left out.

    Raises:
        ValueError: there is no unit, or the lengths differ.
    """
    x, y = _vector(numerators), _vector(denominators)
    if len(x) != len(y):
        raise ValueError(f"ratio_interval: {len(x)} numerators but {len(y)} denominators")
    ratio, error = _ratio_and_error(x, y)
    if error == 0:
        return Interval(ratio, ratio)
    moments = _resampled_sums(np.stack([x, y, x * x, x * y, y * y], axis=1))
    usable = moments[moments[:, 1] > 0]
    ratios, errors = _ratio_and_error_of_sums(*usable.T, units=len(x))
    pivots = (ratios - ratio)[errors > 0] / errors[errors > 0]
    studentised = ratio - error * np.quantile(pivots, [1 - ALPHA / 2, ALPHA / 2])
    percentile = np.quantile(ratios, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(min(studentised[0], percentile[0])), float(max(studentised[1], percentile[1])))


def paired_comparison(a: ArrayLike, b: ArrayLike, *, clusters: Sequence[Hashable] | None = None) -> PairedComparison:
    """Compare the scores of two models on the same items, in the same order.

    Independent 0/1 scores get a mid-p McNemar test and a bootstrap over the table of pairs. Other scores, and items in
    clusters of related items, get a sign-flip permutation test and a bootstrap over items or clusters.

    Raises:
        ValueError: the lengths differ or there is no item.
    """
    a, b = _vector(a), _vector(b)
    if len(a) != len(b):
        raise ValueError(f"paired_comparison: {len(a)} scores against {len(b)}; pair them by item first")
    wins, losses = int((a > b).sum()), int((a < b).sum())
    if clusters is None and _is_binary(a) and _is_binary(b):
        interval, p_value = _table_interval(wins, losses, len(a)), mcnemar_midp(wins, losses)
        return _comparison(a, b, interval, p_value, MCNEMAR, len(a), float(len(a)))
    sums_a, counts = _by_cluster(a, clusters)
    sums_b, _ = _by_cluster(b, clusters)
    interval = _difference_interval(sums_a - sums_b, counts).clip(-1, 1)
    p_value = sign_flip_test(sums_a, sums_b)
    effective = _effective_n(a - b, sums_a - sums_b, counts)
    return _comparison(a, b, interval, p_value, SIGN_FLIP, len(counts), effective)


def paired_ratio_comparison(a: ArrayLike, b: ArrayLike, denominators: ArrayLike) -> PairedComparison:
    """Compare sum(a) / sum(denominators) with sum(b) / sum(denominators), such as nats per token. Units are items.

    Raises:
        ValueError: the lengths differ or there is no item.
    """
    a, b, weights = _vector(a), _vector(b), _vector(denominators)
    if not len(a) == len(b) == len(weights):
        raise ValueError(f"paired_ratio_comparison: lengths {len(a)}, {len(b)} and {len(weights)} differ")
    scale = weights.mean()
    interval, p_value = ratio_interval(a - b, weights), sign_flip_test(a, b)
    compared = _comparison(a / scale, b / scale, interval, p_value, SIGN_FLIP, len(a), float(len(a)))
    return replace(compared, largest_step=float(np.abs(a - b).max() / scale) or 1.0)


@dataclass(frozen=True)
class SeedComparison:
    """Several trainings of one model, which differ in their seed, against one reference on the same items.

    Attributes:
        difference: mean over seeds and items of score - reference.
        ci95: its interval; it includes the variation between seeds and that between items.
    """

    difference: float
    ci95: Interval


def compare_over_seeds(
    scores: Sequence[ArrayLike], reference: ArrayLike, *, clusters: Sequence[Hashable] | None = None
) -> SeedComparison:
    """The mean difference of several seeds' scores from a reference, all on the same items in the same order.

    Seeds and items are crossed random factors, because every seed answers every item. The variance of the mean is
    s_seeds**2 / S + s_items**2 / I: the variance between the means of S seeds, and that between the means of I items or
    clusters. The sum counts the interaction twice, so it is an upper bound, as for the bootstrap that resamples both
    factors (Owen 2007, "The pigeonhole bootstrap"). That bootstrap is not used, because resampling S seeds understates
    their variance by (S - 1) / S, which is a half for two. The interval is that of Student's t, with the degrees of
    freedom of a sum of variances (Satterthwaite 1946). Few seeds that differ much make it wide.

    Args:
        scores: [S][items], one list for each seed, S >= 2.

    Raises:
        ValueError: there are fewer than two seeds, there is no item, or the lengths differ.
    """
    if len(scores) < 2:
        raise ValueError(f"compare_over_seeds: {len(scores)} seeds; the variation between seeds needs two")
    b = _vector(reference)
    differences_SI = np.stack([_vector(of_seed) for of_seed in scores]) - b
    sums, counts = _by_cluster(differences_SI.mean(axis=0), clusters)
    difference, items_error = _ratio_and_error(sums, counts)
    between_seeds = float(differences_SI.mean(axis=1).var(ddof=1)) / len(scores)
    between_items = items_error**2
    if between_seeds + between_items < 1e-24:  # all alike: the number of items decides
        return SeedComparison(difference, _difference_interval(sums, counts).clip(-1, 1))
    shares = [(between_seeds, len(scores) - 1), (between_items, max(len(sums) - 1, 1))]
    total = between_seeds + between_items
    freedom = total**2 / sum(part**2 / degrees for part, degrees in shares)
    width = float(stats.t.ppf(1 - ALPHA / 2, freedom)) * math.sqrt(total)
    return SeedComparison(difference, Interval(difference - width, difference + width).clip(-1, 1))


def mcnemar_midp(wins: int, losses: int) -> float:
    """Two-sided mid-p McNemar test of the discordant pairs: 2 P(X < k) + P(X = k), where k is the smaller count.

    Fagerland, Lydersen and Laake (2013) recommend it over the exact test, which is conservative.
    """
    pairs, fewer = wins + losses, min(wins, losses)
    p_value = 2 * stats.binom.cdf(fewer, pairs, 0.5) - stats.binom.pmf(fewer, pairs, 0.5)
    return float(min(p_value, 1.0))


def sign_flip_test(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of sum(a - b) under the hypothesis that the two values of each unit can be exchanged."""
    a, b = _vector(a), _vector(b)
    if len(a) < 2 or not np.any(a - b):
        return 1.0
    result = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.sum(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1_000,
        rng=np.random.default_rng(SEED),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given. A result is significant if its adjusted p-value is below 0.05."""
    return [float(p) for p in multipletests(p_values, method="holm")[1]] if len(p_values) else []


def minimum_detectable_difference(
    n: float,
    *,
    discordance: float = UNRELATED_MODELS,
    smallest_step: float = 1.0,
    alpha: float = ALPHA,
    power: float = 0.8,
) -> float | None:
    """The smallest true difference that a paired comparison of n items finds with the given power, or None.

    Solves d * sqrt(n) = z_alpha * sqrt(m) + z_power * sqrt(m - d**2) (Connor 1987, for 0/1 scores), where m is the mean
    squared difference of an item. m is at least `smallest_step` * d, because no nonzero difference is smaller than
    `smallest_step`. So a sample without discordant pairs does not promise to show arbitrarily small differences.

    Args:
        n: number of items.
        discordance: estimate of m; for 0/1 scores, the share of items on which the models disagree.
    """
    z_alpha, z_power = stats.norm.ppf(1 - alpha / 2), stats.norm.ppf(power)

    def shortfall(d: float) -> float:
        m = max(discordance, smallest_step * d, d * d)
        return float(z_alpha * math.sqrt(m) + z_power * math.sqrt(m - d * d) - d * math.sqrt(n))

    return _smallest_root(shortfall) if n > 0 else None


def minimum_detectable_mean(
    n: float, *, units: int, variance: float, smallest_step: float, alpha: float = ALPHA, power: float = 0.8
) -> float | None:
    """The same for means of any differences: d * sqrt(n) = (t_alpha + t_power) * s, with units - 1 degrees of freedom.

    With few units, a sign-flip test needs as large a difference as a t test, which is more than the normal distribution
    predicts. s**2 is at least the variance of differences of `smallest_step` with mean d, for the reason given above.

    Args:
        n: effective number of items: the number of independent items with the same information.
        units: number of independent items or clusters.
        variance: estimate of s**2, the variance of an item's difference.
    """
    if units < 2:
        return None
    t_alpha, t_power = stats.t.ppf(1 - alpha / 2, units - 1), stats.t.ppf(power, units - 1)

    def shortfall(d: float) -> float:
        spread = max(variance, smallest_step * d - d * d, 0.0)
        return float((t_alpha + t_power) * math.sqrt(spread) - d * math.sqrt(n))

    return _smallest_root(shortfall)


def _smallest_root(shortfall: Callable[[float], float]) -> float | None:
    """The smallest detectable difference in (0, 1], or None if even 1 is too small."""
    return None if shortfall(1.0) > 0 else float(optimize.brentq(shortfall, 1e-9, 1.0))


def gap_recovered(
    model: ArrayLike, base: ArrayLike, teacher: ArrayLike, *, clusters: Sequence[Hashable] | None = None
) -> GapRecovered:
    """The share of the distance from base to teacher that a model has covered, on the same items in the same order."""
    gap = paired_comparison(teacher, base, clusters=clusters)
    if gap.ci95.low <= 0:
        return GapRecovered(None, None, gap.difference, gap.ci95)
    gained, _ = _by_cluster(_vector(model) - _vector(base), clusters)
    missing, _ = _by_cluster(_vector(teacher) - _vector(base), clusters)
    return GapRecovered(float(gained.sum() / missing.sum()), ratio_interval(gained, missing), gap.difference, gap.ci95)


def _comparison(
    a: Vector, b: Vector, interval: Interval, p_value: float, test: str, units: int, effective_n: float
) -> PairedComparison:
    steps = np.abs(a - b)
    return PairedComparison(
        difference=float(np.mean(a - b)),
        ci95=interval,
        p_value=p_value,
        test=test,
        n=len(a),
        units=units,
        wins=int((a > b).sum()),
        losses=int((a < b).sum()),
        discordance=float(np.mean(steps**2) if test == MCNEMAR else np.var(a - b, ddof=min(1, len(a) - 1))),
        smallest_step=float(steps[steps > 0].min()) if steps.any() else 1.0,
        largest_step=1.0,
        effective_n=effective_n,
    )


def _table_interval(wins: int, losses: int, n: int) -> Interval:
    """Bootstrap over the 2 x 2 table of pairs, with half a pair added to each cell (Agresti and Min 2005).

    Without the added halves, a table without discordant pairs would give an interval of width 0.
    """
    cells = np.array([wins + 0.5, losses + 0.5, n - wins - losses + 1.0])
    draws = np.random.default_rng(SEED).multinomial(n + 2, cells / cells.sum(), RESAMPLES)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / (n + 2), [ALPHA / 2, 1 - ALPHA / 2])
    difference = (wins - losses) / n
    return Interval(float(min(low, difference)), float(max(high, difference)))


def _difference_interval(differences: Vector, counts: Vector) -> Interval:
    """Interval of sum(differences) / sum(counts). If all units agree, the number of units decides its width."""
    means = differences / counts
    if not _is_constant(means):
        return ratio_interval(differences, counts)
    unseen = _table_interval(0, 0, len(means))
    return Interval(float(means[0] + unseen.low), float(means[0] + unseen.high))


def _effective_n(differences: Vector, sums: Vector, counts: Vector) -> float:
    """The number of items divided by the design effect of their clusters, but never more than the number of items."""
    n, units = len(differences), len(sums)
    if units == n or units < 2 or differences.var() == 0:
        return float(units)
    _, error = _ratio_and_error(sums, counts)
    return float(n if error == 0 else min(n, differences.var(ddof=1) / error**2))


def _resampled_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums over each bootstrap sample [RESAMPLES, columns] of `values` [units, columns]."""
    counts = _resample_counts(len(values))
    parts = (counts[start : start + _block(len(values))] for start in range(0, RESAMPLES, _block(len(values))))
    return np.concatenate([part.astype(np.float64) @ values for part in parts])


@lru_cache(maxsize=8)
def _resample_counts(units: int) -> NDArray[np.uint8]:
    """How often each of `units` is drawn in each bootstrap sample [RESAMPLES, units]; the same for every measure.

    A count above 255 does not occur: counts are near a Poisson distribution of mean 1.
    """
    rng, counts = np.random.default_rng(SEED), np.empty((RESAMPLES, units), np.uint8)
    for start in range(0, RESAMPLES, _block(units)):
        part = counts[start : start + _block(units)]
        part[:] = rng.multinomial(units, np.full(units, 1 / units), len(part))
    return counts


def _block(units: int) -> int:
    """Bootstrap samples to hold at a time in 64-bit numbers."""
    return max(1, BLOCK_NUMBERS // units)


def _ratio_and_error(x: Vector, y: Vector) -> tuple[float, float]:
    """Ratio of sums and its linearised standard error."""
    ratio = x.sum() / y.sum()
    residuals = x - ratio * y
    scale = np.abs(x).max()  # residuals within rounding error count as 0
    residuals[np.abs(residuals) <= 1e-12 * scale] = 0.0
    error = math.sqrt((residuals**2).sum() * len(x) / max(len(x) - 1, 1)) / abs(y.sum())
    return float(ratio), error


def _ratio_and_error_of_sums(
    x: Vector, y: Vector, xx: Vector, xy: Vector, yy: Vector, *, units: int
) -> tuple[Vector, Vector]:
    """The same for many bootstrap samples at once, from each sample's sums of x, y and their products."""
    ratios = x / y
    squares = np.maximum(xx - 2 * ratios * xy + ratios**2 * yy, 0.0)
    squares[squares <= 1e-12 * xx] = 0.0
    return ratios, np.sqrt(squares * units / max(units - 1, 1)) / np.abs(y)


def _by_cluster(values: Vector, clusters: Sequence[Hashable] | None) -> tuple[Vector, Vector]:
    """Sum and count of each cluster, in order of first appearance. Without `clusters`, every item is a cluster."""
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"{len(values)} scores but {len(clusters)} cluster labels")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    index = np.array([numbers[label] for label in clusters])
    return _vector(np.bincount(index, weights=values)), _vector(np.bincount(index))


def _vector(values: ArrayLike) -> Vector:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"expected a non-empty list of numbers, got shape {vector.shape}")
    return vector


def _is_binary(values: Vector) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _is_constant(values: Vector) -> bool:
    return bool(np.ptp(values) <= 1e-12)
