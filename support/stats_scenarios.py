"""Simulated scores with known truth, for the tests and the benchmark of l2s.evaluation.stats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from l2s.evaluation import stats
from l2s.evaluation.stats import Interval

Scores = NDArray[np.float64]
Trial = tuple[Interval, float | None]  # an interval and, for a comparison, its p-value
FAMILIES, FAMILY_SIZE = 25, 4


@dataclass(frozen=True)
class Scenario:
    """One kind of data. `draw` simulates it once and returns the library's result; `truth` is the value to cover."""

    name: str
    truth: float
    draw: Callable[[np.random.Generator], Trial]
    is_null: bool = False  # no difference: every rejection is a false alarm


@dataclass(frozen=True)
class Result:
    """Share of intervals that held the truth, their mean width, and the share of tests that rejected."""

    coverage: float
    width: float
    rejected: float | None


def measure(scenario: Scenario, simulations: int, seed: int = 0) -> Result:
    """Run a scenario many times."""
    rng = np.random.default_rng(seed)
    trials = [scenario.draw(rng) for _ in range(simulations)]
    covered = [low <= scenario.truth <= high for (low, high), _ in trials]
    p_values = [p_value for _, p_value in trials if p_value is not None]
    return Result(
        coverage=float(np.mean(covered)),
        width=float(np.mean([high - low for (low, high), _ in trials])),
        rejected=float(np.mean(np.array(p_values) < stats.ALPHA)) if p_values else None,
    )


def proportion(rng: np.random.Generator, *, n: int, p: float) -> Trial:
    """Right or wrong, one model."""
    return stats.mean_interval((rng.random(n) < p).astype(float)), None


def paired_proportions(rng: np.random.Generator, *, n: int, p: float, q: float) -> Trial:
    """Right or wrong, two models with the same luck on half of the items."""
    luck = rng.random(n)
    other = np.where(rng.random(n) < 0.5, luck, rng.random(n))
    found = stats.paired_comparison((luck < p).astype(float), (other < q).astype(float))
    return found.ci95, found.p_value


def _families(rng: np.random.Generator) -> tuple[Scores, list[int]]:
    """Hardness of each item, shared within its family, and the family labels."""
    return np.repeat(rng.beta(2, 3, FAMILIES), FAMILY_SIZE), [i // FAMILY_SIZE for i in range(FAMILIES * FAMILY_SIZE)]


def clustered_mean(rng: np.random.Generator) -> Trial:
    """Concept rates in quarters, one model; items of a family are easy or hard together."""
    ease, labels = _families(rng)
    return stats.mean_interval(rng.binomial(4, ease) / 4, clusters=labels), None


def clustered_pair(rng: np.random.Generator) -> Trial:
    """The same with two models that are equally good on average, but not on the same families."""
    first, labels = _families(rng)
    second = (first + np.repeat(rng.beta(2, 3, FAMILIES), FAMILY_SIZE)) / 2
    a, b = rng.binomial(4, first) / 4, rng.binomial(4, second) / 4
    found = stats.paired_comparison(a, b, clusters=labels)
    return found.ci95, found.p_value


def with_healthy_logs(rng: np.random.Generator, *, healthy_units: int) -> Trial:
    """85 faults of 35 families and 15 healthy logs; the better model learned most faults, and to blame healthy logs."""
    family_of = np.sort(np.arange(85) % 35)
    faults = (rng.binomial(4, rng.beta(a, b, 35)[family_of]) / 4 for a, b in ((1, 1), (1, 15)))
    healthy = (rng.binomial(4, ease, 15) / 4 for ease in (0.05, 0.3))
    a, b = (np.concatenate(parts) for parts in zip(faults, healthy, strict=True))
    labels = [*family_of.tolist(), *(35 + np.arange(15) % healthy_units).tolist()]
    found = stats.paired_comparison(a, b, clusters=labels)
    return found.ci95, found.p_value


WITH_HEALTHY = 0.85 * (1 / 2 - 1 / 16) + 0.15 * (0.05 - 0.3)  # its true difference


def mean_kl(rng: np.random.Generator, *, n: int) -> Trial:
    """Nats a token over n answers: skewed, and larger for some answers than for others."""
    tokens = rng.integers(20, 300, n)
    return stats.ratio_interval(rng.lognormal(-1.5, 0.8, n) * tokens, tokens), None


def few_concept_rates(rng: np.random.Generator, *, n: int) -> Trial:
    """Items with scores in fifths."""
    return stats.ratio_interval(rng.binomial(5, 0.4, n) / 5, np.ones(n)), None


def few_normal(rng: np.random.Generator, *, n: int) -> Trial:
    """Scores that vary like a normal distribution."""
    return stats.ratio_interval(rng.normal(0.5, 0.1, n), np.ones(n)), None


def paired_kl(rng: np.random.Generator, *, n: int) -> Trial:
    """Two models that are equally close to the teacher."""
    tokens, hardness = rng.integers(20, 300, n), rng.lognormal(-1.5, 0.8, n)
    a, b = (hardness * rng.lognormal(0, 0.3, n) * tokens for _ in range(2))
    found = stats.paired_ratio_comparison(a, b, tokens)
    return found.ci95, found.p_value


def recovered(rng: np.random.Generator, *, n: int) -> Trial:
    """Base 0.3, student 0.5, teacher 0.8: two fifths of the gap."""
    luck = rng.random(n)
    base, student, teacher = (
        (np.where(rng.random(n) < 0.5, luck, rng.random(n)) < p).astype(float) for p in (0.3, 0.5, 0.8)
    )
    return stats.gap_recovered(student, base, teacher).ci95 or Interval(-np.inf, np.inf), None


SCENARIOS = (
    Scenario("score, n=50, p=0.1", 0.1, partial(proportion, n=50, p=0.1)),
    Scenario("score, n=50, p=0.5", 0.5, partial(proportion, n=50, p=0.5)),
    Scenario("difference, n=50, 0.1 and 0.1", 0.0, partial(paired_proportions, n=50, p=0.1, q=0.1), is_null=True),
    Scenario("difference, n=50, 0.5 and 0.5", 0.0, partial(paired_proportions, n=50, p=0.5, q=0.5), is_null=True),
    Scenario("difference, n=50, 0.25 and 0.1", 0.15, partial(paired_proportions, n=50, p=0.25, q=0.1)),
    Scenario("difference, n=50, 0.7 and 0.5", 0.2, partial(paired_proportions, n=50, p=0.7, q=0.5)),
    Scenario("difference, n=200, 0.6 and 0.5", 0.1, partial(paired_proportions, n=200, p=0.6, q=0.5)),
    Scenario("concept rate, 25 families of 4", 0.4, clustered_mean),
    Scenario("its difference, 25 families of 4", 0.0, clustered_pair, is_null=True),
    Scenario(
        "difference, 35 families, healthy logs as one more", WITH_HEALTHY, partial(with_healthy_logs, healthy_units=1)
    ),
    Scenario(
        "difference, 35 families, healthy logs as six more", WITH_HEALTHY, partial(with_healthy_logs, healthy_units=6)
    ),
    Scenario("mean KL, 50 answers", float(np.exp(-1.5 + 0.32)), partial(mean_kl, n=50)),
    Scenario("mean KL, 350 answers", float(np.exp(-1.5 + 0.32)), partial(mean_kl, n=350)),
    Scenario("its difference, 50 answers", 0.0, partial(paired_kl, n=50), is_null=True),
    Scenario("gap recovered, n=200", 0.4, partial(recovered, n=200)),
)
FEW_UNITS = tuple(
    scenario
    for n in (2, 3, 4, 6)
    for scenario in (
        Scenario(f"{n} concept rates", 0.4, partial(few_concept_rates, n=n)),
        Scenario(f"{n} normal scores", 0.5, partial(few_normal, n=n)),
        Scenario(f"mean KL, {n} answers", float(np.exp(-1.5 + 0.32)), partial(mean_kl, n=n)),
    )
)
