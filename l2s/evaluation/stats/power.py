"""The smallest difference between two models that a comparison could show."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import optimize, stats

from l2s.evaluation.stats.intervals import ALPHA

UNRELATED_MODELS = 0.5  # discordance of two independent models that are both right half the time


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
