"""Bootstrap samples of independent units, and the standard error of a ratio of sums."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from l2s.evaluation.stats.units import Vector

SEED = 20_240_229
RESAMPLES = 9_999
BLOCK_NUMBERS = 8_000_000  # 64 MB; all samples of up to 800 units at once


def resampled_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
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


def ratio_and_error(x: Vector, y: Vector) -> tuple[float, float]:
    """Ratio of sums and its linearised standard error."""
    ratio = x.sum() / y.sum()
    residuals = x - ratio * y
    scale = np.abs(x).max()  # residuals within rounding error count as 0
    residuals[np.abs(residuals) <= 1e-12 * scale] = 0.0
    error = math.sqrt((residuals**2).sum() * len(x) / max(len(x) - 1, 1)) / abs(y.sum())
    return float(ratio), error


def ratios_and_errors_of_sums(
    x: Vector, y: Vector, xx: Vector, xy: Vector, yy: Vector, *, units: int
) -> tuple[Vector, Vector]:
    """The same for many bootstrap samples at once, from each sample's sums of x, y and their products."""
    ratios = x / y
    squares = np.maximum(xx - 2 * ratios * xy + ratios**2 * yy, 0.0)
    squares[squares <= 1e-12 * xx] = 0.0
    return ratios, np.sqrt(squares * units / max(units - 1, 1)) / np.abs(y)
