"""Scores, contrasts and fidelity with their intervals and tests, from graded answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from l2s.arms import BASE, CONTRASTS, TEACHER
from l2s.evaluation import stats
from l2s.jsonl import Row
from l2s.report.numbers.schema import (
    Bounds,
    Contrast,
    DomainResult,
    Fidelity,
    FidelityInterval,
    Gap,
    ModelEvaluation,
    Verdict,
)
from l2s.tasks.table import in_order, task_of

Predictions = Mapping[str, Sequence[Row]]  # model -> rows

ALL_DOMAINS = "all"
FIDELITY_SUMS = ("kl_sum", "top1_sum", "nll_sum")
LARGEST_SUM = 1e15  # of a row: whole numbers up to here are exact
MOST_NATS_A_TOKEN = 1e6  # a larger sum is not a measurement, and its square may overflow
ODD_NATS_A_TOKEN = 30  # a uniform guess costs 12 at 152k tokens; above this the model or its numerics are broken
LARGEST_EXPONENT = 700.0  # e to the power of 710 is no float64


def domains_in(predictions: Predictions) -> list[str]:
    """The domains of these rows, in report order."""
    return in_order(row["domain"] for rows in predictions.values() for row in rows)


def evaluate_models(predictions: Predictions, metrics: Mapping[str, str]) -> dict[str, ModelEvaluation]:
    """Scores with intervals by model and domain; `metrics` names the main metric of each domain."""
    return {
        model: {
            "domain_results": {
                domain: _domain_result(rows_of, metrics[domain], clusters(rows_of))
                for domain in metrics
                if (rows_of := [row for row in rows if row["domain"] == domain])
            }
        }
        for model, rows in predictions.items()
    }


def _domain_result(rows: Sequence[Row], metric: str, labels: list[str] | None) -> DomainResult:
    scores = [float(row["score"]) for row in rows if row["score"] is not None]
    further = _further_verdicts(rows)
    return {
        "main_metric": float(np.mean(scores)) if scores else None,
        "metric": metric,
        "n": len(rows),
        "ci95": list(stats.mean_interval(scores, clusters=labels)) if scores else None,
        "statuses": dict(Counter(str(row["status"]) for row in rows).most_common()),
        "truncated": sum(is_truncated(row) for row in rows),
        "no_answer": sum(row["status"] == "no_answer" for row in rows),
        "mean_tokens": float(np.mean([row["num_tokens"] for row in rows])),
        "also": {name: float(np.mean(held)) for name, held in further.items()},
        "also_ci95": {name: list(stats.mean_interval(held, clusters=labels)) for name, held in further.items()},
    }


def _graded(predictions: Predictions) -> Predictions:
    """The answers that have a score."""
    return {model: [row for row in rows if row["score"] is not None] for model, rows in predictions.items()}


def is_truncated(row: Row) -> bool:
    """Whether an answer was cut: at max_new_tokens, or inside a <think> that it never closed."""
    return bool(row["finish_reason"] == "length" or row["status"] == "truncated")


def _further_verdicts(rows: Sequence[Row]) -> dict[str, list[bool]]:
    """The yes-or-no details that the grader recorded for all items, with their value on each."""
    first: Mapping[str, Any] = rows[0].get("details") or {}
    names = [name for name in first if all(isinstance((row.get("details") or {}).get(name), bool) for row in rows)]
    return {name: [row["details"][name] for row in rows] for name in names}


def clusters(rows: Sequence[Row]) -> list[str] | None:
    """The cluster label of each row of one domain, or None if the items are independent."""
    names = task_of(rows[0]["domain"]).cluster_fields
    if not names or any(name not in row["meta"] for row in rows for name in names):
        return None
    return ["/".join(str(row["meta"][name]) for name in names) for row in rows]


def pair(first: Iterable[Row], second: Iterable[Row]) -> list[tuple[Row, Row]]:
    """Rows of the same item, in the order of `first`; items that only one side has are left out."""
    others = {row["id"]: row for row in second}
    return [(row, others[row["id"]]) for row in first if row["id"] in others]


def compare_models(predictions: Predictions) -> list[Contrast]:
    """Every declared contrast whose models were evaluated, by domain, Holm-adjusted within each domain."""
    found: list[Contrast] = []
    predictions = _graded(predictions)
    for domain in domains_in(predictions):
        rows = {model: [row for row in all_rows if row["domain"] == domain] for model, all_rows in predictions.items()}
        found += _declared_contrasts(domain, rows, _compare_scores)
    return found


def _compare_scores(pairs: Sequence[tuple[Row, Row]]) -> stats.PairedComparison:
    labels = clusters([row for row, _ in pairs])
    return stats.paired_comparison([a["score"] for a, _ in pairs], [b["score"] for _, b in pairs], clusters=labels)


def is_usable(row: Row) -> bool:
    """Whether the sums of a fidelity row can be averaged: finite, over at least one token, of an answer with a name."""
    if not (isinstance(row.get("id"), str) and isinstance(row.get("domain"), str)):
        return False
    values = [row.get(name) for name in ("num_tokens", *FIDELITY_SUMS)]
    numbers = [value for value in values if isinstance(value, int | float) and abs(value) < LARGEST_SUM]
    most = MOST_NATS_A_TOKEN * numbers[0] if numbers else 0.0
    return len(numbers) == len(values) and numbers[0] > 0 and all(abs(number) <= most for number in numbers[1:])


def compare_fidelity(fidelity: Predictions) -> list[Contrast]:
    """The declared contrasts of the mean KL to the teacher over all domains; below 0, the model is the closer one."""
    return _declared_contrasts(ALL_DOMAINS, fidelity, _compare_kl)


def _compare_kl(pairs: Sequence[tuple[Row, Row]]) -> stats.PairedComparison:
    return stats.paired_ratio_comparison(
        [a["kl_sum"] for a, _ in pairs], [b["kl_sum"] for _, b in pairs], [a["num_tokens"] for a, _ in pairs]
    )


def _declared_contrasts(
    domain: str, rows: Predictions, compare: Callable[[Sequence[tuple[Row, Row]]], stats.PairedComparison]
) -> list[Contrast]:
    pairs = {names: pair(rows.get(names[0], []), rows.get(names[1], [])) for names in CONTRASTS}
    compared = {names: compare(found) for names, found in pairs.items() if found}
    adjusted = stats.holm([comparison.p_value for comparison in compared.values()])
    return [
        contrast(domain, *names, comparison, p_holm, tests=len(compared))
        for (names, comparison), p_holm in zip(compared.items(), adjusted, strict=True)
    ]


def contrast(
    domain: str, model: str, reference: str, comparison: stats.PairedComparison, p_holm: float, *, tests: int
) -> Contrast:
    """A comparison with its verdict, as one of `tests` made together."""
    return {
        "domain": domain,
        "model": model,
        "reference": reference,
        "difference": comparison.difference,
        "ci95": _bounds(comparison),
        "p_value": comparison.p_value,
        "p_holm": p_holm,
        "test": comparison.test,
        "n": comparison.n,
        "units": comparison.units,
        "wins": comparison.wins,
        "losses": comparison.losses,
        "minimum_detectable_difference": comparison.minimum_detectable_difference(tests),
        "verdict": _verdict(comparison, p_holm),
    }


def _bounds(comparison: stats.PairedComparison) -> Bounds | None:
    """The interval; None where a single unit gives one without width, which says nothing of the spread."""
    low, high = comparison.ci95
    return [low, high] if comparison.units > 1 or low < high else None


def _verdict(comparison: stats.PairedComparison, p_holm: float) -> Verdict:
    """A difference is detectable if both its interval and its adjusted test exclude 0."""
    if p_holm >= stats.ALPHA or not comparison.ci95.excludes_zero:
        return "no detectable difference"
    return "higher" if comparison.difference > 0 else "lower"


def recover_gaps(predictions: Predictions) -> list[Gap]:
    """The share of the teacher's lead that each trained student recovered, by domain."""
    if not {TEACHER, BASE} <= predictions.keys():
        return []
    predictions = _graded(predictions)
    students = [model for model in predictions if model not in (TEACHER, BASE)]
    gaps = [_gap(domain, model, predictions) for domain in domains_in(predictions) for model in students]
    return [gap for gap in gaps if gap is not None]


def _gap(domain: str, model: str, predictions: Predictions) -> Gap | None:
    """The gap on the items that the model, the base student and the teacher all have graded answers to."""
    bases, teachers = ({row["id"]: row for row in predictions[name]} for name in (BASE, TEACHER))
    triples = [
        (row, bases[row["id"]], teachers[row["id"]])
        for row in predictions[model]
        if row["domain"] == domain and row["id"] in bases and row["id"] in teachers
    ]
    if not triples:
        return None
    scores = [[float(row["score"]) for row in rows] for rows in zip(*triples, strict=True)]
    gap = stats.gap_recovered(*scores, clusters=clusters([row for row, _, _ in triples]))
    return {
        "domain": domain,
        "model": model,
        "recovered": gap.ratio,
        "ci95": None if gap.ci95 is None else list(gap.ci95),
        "teacher_lead": gap.gap,
        "teacher_lead_ci95": list(gap.gap_ci95),
    }


def measure_fidelity(rows: Sequence[Row]) -> Fidelity:
    """Fidelity of one model over all rows and by domain."""
    measured = _fidelity(rows)
    by_domain = {domain: [row for row in rows if row["domain"] == domain] for domain in domains_in({"": rows})}
    measured["domains"] = {domain: _fidelity(found) for domain, found in by_domain.items()}
    return measured


def _perplexity(nats: float) -> float:
    return float(np.exp(min(nats, LARGEST_EXPONENT)))


def _fidelity(rows: Sequence[Row]) -> Fidelity:
    """Ratios of sums over response tokens; the intervals resample whole answers."""
    tokens = [row["num_tokens"] for row in rows]
    sums = {name: [row[name] for row in rows] for name in FIDELITY_SUMS}
    means = {name: float(np.sum(values) / np.sum(tokens)) for name, values in sums.items()}
    return {
        "mean_kl": means["kl_sum"],
        "top1_agreement": means["top1_sum"],
        "perplexity": _perplexity(means["nll_sum"]),
        "ci95": _fidelity_bounds(sums, tokens),
        "n": len(rows),
        "num_tokens": int(np.sum(tokens)),
    }


def _fidelity_bounds(sums: Mapping[str, Sequence[float]], tokens: Sequence[int]) -> FidelityInterval | None:
    """The intervals, within what each measure can be: KL and loss of a token are 0 or more, and e to the 0 is 1."""
    if len(tokens) < 2:
        return None
    kl, top1, nll = (stats.ratio_interval(sums[name], tokens) for name in FIDELITY_SUMS)
    return {
        "mean_kl": list(kl.clip(0, np.inf)),
        "top1_agreement": list(top1.clip(0, 1)),
        "perplexity": [_perplexity(bound) for bound in nll.clip(0, np.inf)],
    }
