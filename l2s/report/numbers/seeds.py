"""The spread of an arm's scores over the seeds that it was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from l2s.arms import BASE
from l2s.evaluation import stats
from l2s.jsonl import Row
from l2s.report.numbers.schema import SeedSpread
from l2s.report.numbers.scores import clusters, domains_in

RowsOfSeeds = Mapping[int, Sequence[Row]]  # seed -> rows


def spread_over_seeds(by_seed: Mapping[str, RowsOfSeeds], predictions: Mapping[str, Sequence[Row]]) -> list[SeedSpread]:
    """One row for each domain and arm with graded answers of two seeds or more.

    The spread is measured on the items that all of these seeds answered; the difference, on those that the base student
    answered too.
    """
    base = predictions.get(BASE, [])
    domains = domains_in({f"{model}{seed}": rows for model, of in by_seed.items() for seed, rows in of.items()})
    found = [_spread(domain, model, rows, base) for domain in domains for model, rows in by_seed.items()]
    return [spread for spread in found if spread is not None]


def _spread(domain: str, model: str, by_seed: RowsOfSeeds, base: Sequence[Row]) -> SeedSpread | None:
    graded = {seed: _graded(rows, domain) for seed, rows in by_seed.items()}
    graded = {seed: rows for seed, rows in graded.items() if rows}
    common = _common(list(graded.values()))
    if len(graded) < 2 or not common:
        return None
    first = next(iter(graded.values()))
    scores_SI = [[float(rows[item]["score"]) for item in common] for rows in graded.values()]
    means = [float(np.mean(scores)) for scores in scores_SI]
    spread: SeedSpread = {
        "domain": domain,
        "model": model,
        "seeds": list(graded),
        "scores": means,
        "mean": float(np.mean(means)),
        "sd": float(np.std(means, ddof=1)),
        "low": min(means),
        "high": max(means),
        "n": len(common),
        "ci95": list(stats.mean_interval(scores_SI[0], clusters=clusters([first[item] for item in common]))),
        "difference": None,
        "difference_ci95": None,
    }
    of_base = _graded(base, domain)
    if paired := _common([*graded.values(), of_base]):
        compared = stats.compare_over_seeds(
            [[rows[item]["score"] for item in paired] for rows in graded.values()],
            [of_base[item]["score"] for item in paired],
            clusters=clusters([first[item] for item in paired]),
        )
        spread |= {"difference": compared.difference, "difference_ci95": list(compared.ci95)}
    return spread


def _graded(rows: Sequence[Row], domain: str) -> dict[str, Row]:
    """Item -> row, for the graded answers of one domain."""
    return {row["id"]: row for row in rows if row["domain"] == domain and row["score"] is not None}


def _common(answered: Sequence[Mapping[str, Row]]) -> list[str]:
    """The items that are in all of them, in the order of the first."""
    return [item for item in (answered[0] if answered else {}) if all(item in rows for rows in answered)]
