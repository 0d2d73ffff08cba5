"""Two models compared on the same items."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from l2s.evaluation.stats.bootstrap import ratio_and_error
from l2s.evaluation.stats.intervals import ALPHA, Interval, difference_interval, ratio_interval, table_interval
from l2s.evaluation.stats.power import minimum_detectable_difference, minimum_detectable_mean
from l2s.evaluation.stats.significance import MCNEMAR, SIGN_FLIP, mcnemar_midp, sign_flip_test
from l2s.evaluation.stats.units import Vector, by_cluster, is_binary, vector

ROUNDING = 1e-12  # scores that differ by less are equal: 0.1 + 0.2 and 0.3 are


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


def paired_comparison(a: ArrayLike, b: ArrayLike, *, clusters: Sequence[Hashable] | None = None) -> PairedComparison:
    """Compare the scores of two models on the same items, in the same order.

    Independent 0/1 scores get a mid-p McNemar test and a bootstrap over the table of pairs. Other scores, and items in
    clusters of related items, get a sign-flip permutation test and a bootstrap over items or clusters.

    Raises:
        ValueError: the lengths differ or there is no item.
    """
    a, b = vector(a), vector(b)
    if len(a) != len(b):
        raise ValueError(f"paired_comparison: {len(a)} scores against {len(b)}; pair them by item first")
    b = np.where(np.abs(a - b) <= ROUNDING, a, b)
    wins, losses = int((a > b).sum()), int((a < b).sum())
    if clusters is None and is_binary(a) and is_binary(b):
        interval, p_value = table_interval(wins, losses, len(a)), mcnemar_midp(wins, losses)
        return _comparison(a, b, interval, p_value, MCNEMAR, len(a), float(len(a)))
    sums_a, counts = by_cluster(a, clusters)
    sums_b, _ = by_cluster(b, clusters)
    interval = difference_interval(sums_a - sums_b, counts).clip(-1, 1)
    p_value = sign_flip_test(sums_a, sums_b)
    effective = _effective_n(a - b, sums_a - sums_b, counts)
    return _comparison(a, b, interval, p_value, SIGN_FLIP, len(counts), effective)


def paired_ratio_comparison(a: ArrayLike, b: ArrayLike, denominators: ArrayLike) -> PairedComparison:
    """Compare sum(a) / sum(denominators) with sum(b) / sum(denominators), such as nats per token. Units are items.

    Raises:
        ValueError: the lengths differ or there is no item.
    """
    a, b, weights = vector(a), vector(b), vector(denominators)
    if not len(a) == len(b) == len(weights):
        raise ValueError(f"paired_ratio_comparison: lengths {len(a)}, {len(b)} and {len(weights)} differ")
    scale = weights.mean()
    interval, p_value = ratio_interval(a - b, weights), sign_flip_test(a, b)
    compared = _comparison(a / scale, b / scale, interval, p_value, SIGN_FLIP, len(a), float(len(a)))
    return replace(compared, largest_step=float(np.abs(a - b).max() / scale) or 1.0)


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


def _effective_n(differences: Vector, sums: Vector, counts: Vector) -> float:
    """The number of items divided by the design effect of their clusters, but never more than the number of items."""
    n, units = len(differences), len(sums)
    if units == n or units < 2 or differences.var() == 0:
        return float(units)
    _, error = ratio_and_error(sums, counts)
    return float(n if error == 0 else min(n, differences.var(ddof=1) / error**2))
