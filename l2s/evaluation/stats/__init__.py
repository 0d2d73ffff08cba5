"""Statistics of scores: intervals, paired comparisons, and the smallest difference that the items could show.

Scores lie in [0, 1] and differences in [-1, 1]. An interval covers 95%. Every random draw has a fixed seed, so the same
scores give the same numbers. This package imports nothing from the rest of l2s.
"""

from __future__ import annotations

from l2s.evaluation.stats.gap import GapRecovered, gap_recovered
from l2s.evaluation.stats.intervals import ALPHA, Interval, mean_interval, ratio_interval, wilson_interval
from l2s.evaluation.stats.paired import PairedComparison, paired_comparison, paired_ratio_comparison
from l2s.evaluation.stats.power import minimum_detectable_difference, minimum_detectable_mean
from l2s.evaluation.stats.seeds import SeedComparison, compare_over_seeds
from l2s.evaluation.stats.significance import MCNEMAR, holm, mcnemar_midp, sign_flip_test

__all__ = [
    "ALPHA",
    "MCNEMAR",
    "GapRecovered",
    "Interval",
    "PairedComparison",
    "SeedComparison",
    "compare_over_seeds",
    "gap_recovered",
    "holm",
    "mcnemar_midp",
    "mean_interval",
    "minimum_detectable_difference",
    "minimum_detectable_mean",
    "paired_comparison",
    "paired_ratio_comparison",
    "ratio_interval",
    "sign_flip_test",
    "wilson_interval",
]
