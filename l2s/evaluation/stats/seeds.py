"""Several trainings of one model with different seeds, compared with a reference."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from l2s.evaluation.stats.bootstrap import ratio_and_error
from l2s.evaluation.stats.intervals import ALPHA, Interval, difference_interval
from l2s.evaluation.stats.units import by_cluster, vector


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
    b = vector(reference)
    differences_SI = np.stack([vector(of_seed) for of_seed in scores]) - b
    sums, counts = by_cluster(differences_SI.mean(axis=0), clusters)
    difference, items_error = ratio_and_error(sums, counts)
    between_seeds = float(differences_SI.mean(axis=1).var(ddof=1)) / len(scores)
    between_items = items_error**2
    if between_seeds + between_items < 1e-24:  # all alike: the number of items decides
        return SeedComparison(difference, difference_interval(sums, counts).clip(-1, 1))
    shares = [(between_seeds, len(scores) - 1), (between_items, max(len(sums) - 1, 1))]
    total = between_seeds + between_items
    freedom = total**2 / sum(part**2 / degrees for part, degrees in shares)
    width = float(stats.t.ppf(1 - ALPHA / 2, freedom)) * math.sqrt(total)
    return SeedComparison(difference, Interval(difference - width, difference + width).clip(-1, 1))
