"""Tests of the hypothesis that neither of two models is better, and their adjustment for several comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.multitest import multipletests

from l2s.evaluation.stats.bootstrap import RESAMPLES, SEED
from l2s.evaluation.stats.units import vector

MCNEMAR, SIGN_FLIP = "mid-p McNemar", "sign-flip permutation"


def mcnemar_midp(wins: int, losses: int) -> float:
    """Two-sided mid-p McNemar test of the discordant pairs: 2 P(X < k) + P(X = k), where k is the smaller count.

    Fagerland, Lydersen and Laake (2013) recommend it over the exact test, which is conservative.
    """
    pairs, fewer = wins + losses, min(wins, losses)
    p_value = 2 * stats.binom.cdf(fewer, pairs, 0.5) - stats.binom.pmf(fewer, pairs, 0.5)
    return float(min(p_value, 1.0))


def sign_flip_test(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of sum(a - b) under the hypothesis that the two values of each unit can be exchanged."""
    a, b = vector(a), vector(b)
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
