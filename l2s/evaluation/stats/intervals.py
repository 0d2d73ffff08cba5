"""95% intervals of proportions, means and ratios."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from l2s.evaluation.stats.bootstrap import (
    RESAMPLES,
    SEED,
    ratio_and_error,
    ratios_and_errors_of_sums,
    resampled_sums,
)
from l2s.evaluation.stats.units import Vector, by_cluster, is_binary, is_constant, vector

ALPHA = 0.05  # an interval covers 1 - ALPHA; a test has the level ALPHA
FEW_UNITS = 8  # with fewer, a bootstrap covers too little: 46 to 82% with two units (docs/LOG.md)


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
    values = vector(scores)
    if clusters is None and is_binary(values):
        return wilson_interval(float(values.sum()), len(values))
    sums, counts = by_cluster(values, clusters)
    if is_constant(sums / counts):
        return wilson_interval(float(values.mean()) * len(sums), len(sums))
    return ratio_interval(sums, counts).clip(0, 1)


def ratio_interval(numerators: ArrayLike, denominators: ArrayLike) -> Interval:
    """Bootstrap interval of sum(numerators) / sum(denominators) over independent units.

    Each bound is the wider one of the studentised and the percentile bootstrap (Efron and Tibshirani 1993, chapters 12
    and 13). The studentised bootstrap keeps its coverage with few or skewed units; the percentile bootstrap keeps it
    where most units are alike. With fewer than FEW_UNITS units, each bound is at least as wide as Student's t interval.
    Denominators may have both signs if their sum is positive. Samples whose sum is not positive are rare, have no ratio
    and are left out.

    Raises:
        ValueError: there is no unit, or the lengths differ.
    """
    x, y = vector(numerators), vector(denominators)
    if len(x) != len(y):
        raise ValueError(f"ratio_interval: {len(x)} numerators but {len(y)} denominators")
    ratio, error = ratio_and_error(x, y)
    if error == 0:
        return Interval(ratio, ratio)
    moments = resampled_sums(np.stack([x, y, x * x, x * y, y * y], axis=1))
    usable = moments[moments[:, 1] > 0]
    ratios, errors = ratios_and_errors_of_sums(*usable.T, units=len(x))
    pivots = (ratios - ratio)[errors > 0] / errors[errors > 0]
    percentile = np.quantile(ratios, [ALPHA / 2, 1 - ALPHA / 2])
    if not len(pivots):  # the units differ by less than the sums of their squares can show
        return Interval(*map(float, percentile))
    bounds = [percentile, ratio - error * np.quantile(pivots, [1 - ALPHA / 2, ALPHA / 2])]
    if len(x) < FEW_UNITS:
        bounds.append(np.asarray(ratio + error * stats.t.ppf([ALPHA / 2, 1 - ALPHA / 2], len(x) - 1)))
    return Interval(float(min(low for low, _ in bounds)), float(max(high for _, high in bounds)))


def difference_interval(differences: Vector, counts: Vector) -> Interval:
    """Interval of sum(differences) / sum(counts). If all units agree, the number of units decides its width."""
    means = differences / counts
    if not is_constant(means):
        return ratio_interval(differences, counts)
    unseen = table_interval(0, 0, len(means))
    return Interval(float(means[0] + unseen.low), float(means[0] + unseen.high))


def table_interval(wins: int, losses: int, n: int) -> Interval:
    """Bootstrap interval of (wins - losses) / n over the 2 x 2 table of pairs.

    Half a pair is added to each cell before it is resampled (Agresti and Min 2005).
    Without the added halves, a table without discordant pairs would give an interval of width 0.
    """
    cells = np.array([wins + 0.5, losses + 0.5, n - wins - losses + 1.0])
    draws = np.random.default_rng(SEED).multinomial(n + 2, cells / cells.sum(), RESAMPLES)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / (n + 2), [ALPHA / 2, 1 - ALPHA / 2])
    difference = (wins - losses) / n
    return Interval(float(min(low, difference)), float(max(high, difference)))
