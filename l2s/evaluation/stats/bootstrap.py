"""Bootstrap samples of independent units, and the standard error of a ratio of sums."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from l2s.evaluation.stats.units import Vector

SEED = 20_240_229
RESAMPLES = 9_999
BLOCK_NUMBERS = 8_000_000  # 64 MB; all samples of up to 800 units at once
KEPT_BYTES = 256 << 20  # of samples that are kept for further measures; those of more than 26,000 units are not

_kept: dict[int, NDArray[np.uint8]] = {}  # number of units -> samples; those used last are at the end


def resampled_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums over each bootstrap sample [RESAMPLES, columns] of `values` [units, columns]."""
    return np.concatenate([part.astype(np.float64) @ values for part in _resample_counts(len(values))])


def _resample_counts(units: int) -> Iterator[NDArray[np.uint8]]:
    """How often each of `units` is drawn in each bootstrap sample, some [samples, units] at a time.

    They are the same for every measure. A count above 255 does not occur: counts are near a Poisson distribution of
    mean 1.
    """
    if RESAMPLES * units > KEPT_BYTES:  # drawing them again takes minutes of a report that takes hours
        yield from _draw(units)
        return
    counts = _drawn_once(units)
    yield from (counts[start : start + _block(units)] for start in range(0, RESAMPLES, _block(units)))


def _drawn_once(units: int) -> NDArray[np.uint8]:
    """All samples of `units`, kept as long as there is room."""
    counts = _kept.pop(units, None)
    if counts is None:
        while _kept and RESAMPLES * (units + sum(_kept)) > KEPT_BYTES:
            del _kept[next(iter(_kept))]
        counts, start = np.empty((RESAMPLES, units), np.uint8), 0
        for part in _draw(units):
            counts[start : start + len(part)] = part
            start += len(part)
    _kept[units] = counts
    return counts


def _draw(units: int) -> Iterator[NDArray[np.uint8]]:
    rng, chances = np.random.default_rng(SEED), np.full(units, 1 / units)
    for start in range(0, RESAMPLES, _block(units)):
        yield rng.multinomial(units, chances, min(_block(units), RESAMPLES - start)).astype(np.uint8)


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
