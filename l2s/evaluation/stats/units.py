"""Scores as vectors, and the independent units in them: items, or clusters of related items."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]


def vector(values: ArrayLike) -> Vector:
    """A list of numbers as a vector.

    Raises:
        ValueError: it is empty or has more than one dimension.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or numbers.size == 0:
        raise ValueError(f"expected a non-empty list of numbers, got shape {numbers.shape}")
    return numbers


def is_binary(values: Vector) -> bool:
    """Whether every score is 0 or 1."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def is_constant(values: Vector) -> bool:
    """Whether all values are equal, rounding errors aside."""
    return bool(np.ptp(values) <= 1e-12)


def by_cluster(values: Vector, clusters: Sequence[Hashable] | None) -> tuple[Vector, Vector]:
    """Sum and count of each cluster, in order of first appearance. Without `clusters`, every item is a cluster."""
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"{len(values)} scores but {len(clusters)} cluster labels")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    index = np.array([numbers[label] for label in clusters])
    return vector(np.bincount(index, weights=values)), vector(np.bincount(index))
