"""How much of the gap between base and teacher a model has closed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from l2s.evaluation.stats.intervals import Interval, ratio_interval, table_interval
from l2s.evaluation.stats.paired import paired_comparison
from l2s.evaluation.stats.units import Vector, by_cluster, vector


@dataclass(frozen=True)
class GapRecovered:
    """(model - base) / (teacher - base); 1 means that the student reached the teacher.

    `ratio` and `ci95` are None unless the interval of teacher - base lies above 0: otherwise no gap is known to exist.
    A single unit has no `ci95`. Where every unit shows the same share, such as none of the lead, the number of units
    decides the width.
    """

    ratio: float | None
    ci95: Interval | None
    gap: float  # teacher - base
    gap_ci95: Interval


def gap_recovered(
    model: ArrayLike, base: ArrayLike, teacher: ArrayLike, *, clusters: Sequence[Hashable] | None = None
) -> GapRecovered:
    """The share of the distance from base to teacher that a model has covered, on the same items in the same order."""
    gap = paired_comparison(teacher, base, clusters=clusters)
    if gap.ci95.low <= 0:
        return GapRecovered(None, None, gap.difference, gap.ci95)
    gained, _ = by_cluster(vector(model) - vector(base), clusters)
    missing, _ = by_cluster(vector(teacher) - vector(base), clusters)
    ratio = float(gained.sum() / missing.sum())
    return GapRecovered(ratio, _interval(ratio, gained, missing, gap.difference), gap.difference, gap.ci95)


def _interval(ratio: float, gained: Vector, missing: Vector, lead: float) -> Interval | None:
    if len(gained) < 2:
        return None
    found = ratio_interval(gained, missing)
    if found.low < found.high:
        return found
    unseen = table_interval(0, 0, len(gained))  # of the model's score, which is that of ratio * lead on every unit
    return Interval(ratio + unseen.low / lead, ratio + unseen.high / lead)
