"""results.json: every number of a run in one object, computed from its files alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l2s.jsonl import Row
from l2s.report.numbers import costs, scores
from l2s.report.numbers.files import RunFiles
from l2s.report.numbers.harness import harness
from l2s.report.numbers.opd import opd_health
from l2s.report.numbers.schema import Overlap, Results
from l2s.report.numbers.seeds import spread_over_seeds
from l2s.run_dir import RunDir
from l2s.tasks.contamination import DomainOverlap, overlap
from l2s.tasks.table import in_order, task_of

MOST = 1e300  # larger numbers, NaN and infinity are no measurements


def build_results(files: RunFiles) -> Results:
    """Compute everything that the reports show except the warnings, which need the report's text."""
    models = costs.model_costs(files.manifests)
    fidelity = {model: found for model, rows in files.fidelity.items() if (found := [*filter(scores.is_usable, rows)])}
    curves = _curves(files.curves)
    trained = files.manifests.get("opd")
    metrics = {domain: task_of(domain).metric(files.config) for domain in scores.domains_in(files.predictions)}
    return {
        "experiment_name": files.config.experiment_name,
        "evaluation": scores.evaluate_models(files.predictions, metrics),
        "sources": _sources(files),
        "controls": _controls(files),
        "comparisons": scores.compare_models(files.predictions),
        "gap_recovered": scores.recover_gaps(files.predictions),
        "seeds": spread_over_seeds(files.by_seed, files.predictions),
        "fidelity": {model: scores.measure_fidelity(rows) for model, rows in fidelity.items()},
        "fidelity_comparisons": scores.compare_fidelity(fidelity),
        "lm_eval": {model: harness(found) for model, found in files.lm_eval.items()},
        "models": models,
        "ratios": costs.ratios_to_teacher(models, files.manifests),
        "stages": costs.stage_costs(files.manifests),
        "predicted": RunDir(files.root).load_predictions(),
        "disk_bytes": costs.disk_bytes(files.root),
        "curves": curves,
        "heldout_curves": _curves(files.heldout_curves),
        "never_right": _never_right(files),
        "opd_health": opd_health(curves.get("opd", []), trained.metrics if trained else {}),
        "contamination": {domain: _overlap(found) for domain, found in overlap(files.train, files.eval).items()},
        "warnings": [],
        "config": files.config.model_dump(mode="json"),
        "environment": costs.environment(files.manifests),
    }


def _sources(files: RunFiles) -> dict[str, list[str]]:
    """The source of each domain's items, as the items themselves state it."""
    answered = [row for rows in files.predictions.values() for row in rows]
    pairs = [(item["domain"], item["source"]) for item in files.eval] or [(r["domain"], r["source"]) for r in answered]
    found: dict[str, set[str]] = {domain: set() for domain in in_order(domain for domain, _ in pairs)}
    for domain, source in pairs:
        found[domain].add(source)
    return {domain: sorted(sources) for domain, sources in found.items()}


def _never_right(files: RunFiles) -> dict[str, list[str]]:
    """The ids of the training items that no answer of the teacher gets right."""
    domains = in_order(row["domain"] for row in files.never_right)
    return {domain: [row["id"] for row in files.never_right if row["domain"] == domain] for domain in domains}


def _curves(curves: Mapping[str, list[Row]]) -> dict[str, list[dict[str, float]]]:
    """The numbers of the logged steps; a step whose loss is missing or not finite is left out."""
    steps = {arm: [step for row in rows if "loss" in (step := _numbers(row))] for arm, rows in curves.items()}
    return {arm: found for arm, found in steps.items() if found}


def _numbers(row: Row) -> dict[str, float]:
    return {name: value for name, value in row.items() if isinstance(value, int | float) and abs(value) < MOST}


def _controls(files: RunFiles) -> dict[str, dict[str, float]]:
    """The graders' scores on control answers, measured when the data was prepared."""
    prepared = files.manifests.get("prepare")
    return dict(prepared.metrics.get("controls", {})) if prepared else {}


def _overlap(found: DomainOverlap) -> Overlap:
    duplicates = {eval_id for eval_id, _ in found.duplicates}
    return {
        "train_items": found.num_train,
        "eval_items": found.num_eval,
        "duplicates": [
            {"eval_id": eval_id, "train_id": train_id, "ngram": None, "share": 1.0}
            for eval_id, train_id in found.duplicates
        ],
        "ngram_overlaps": [
            {"eval_id": match.eval_id, "train_id": match.train_id, "ngram": match.ngram, "share": match.share}
            for match in found.ngram
            if match.eval_id not in duplicates
        ],
    }


def shown_domains(results: Results) -> list[str]:
    """The domains that any model was evaluated on, in the order of the reports."""
    return in_order(domain for found in results["evaluation"].values() for domain in found["domain_results"])


def has_scores(results: Results) -> bool:
    """Whether any answer was graded; the user's own data need not be."""
    found = [result for models in results["evaluation"].values() for result in models["domain_results"].values()]
    return not found or any(result["main_metric"] is not None for result in found)


def is_synthetic(sources: Mapping[str, list[str]], domain: str) -> bool:
    """Whether a generator of this project made the items of a domain."""
    return any("synthetic" in source for source in sources.get(domain, []))


def is_contaminated(results: Results, domain: str) -> bool | None:
    """Whether a domain's training data holds some of its evaluation items; None where that was not checked."""
    found = results["contamination"].get(domain)
    return None if found is None else bool(found["duplicates"])


def item_rows(files: RunFiles) -> list[dict[str, Any]]:
    """One object for each evaluation item, with the answers of all models, for the item browser of the HTML report."""
    by_model = {model: {row["id"]: row for row in rows} for model, rows in files.predictions.items()}
    items: dict[str, Mapping[str, Any]] = {row["id"]: row for rows in files.predictions.values() for row in rows}
    items |= {item["id"]: item for item in files.eval}
    order = in_order(item["domain"] for item in items.values())
    return [
        {
            "id": item["id"],
            "domain": item["domain"],
            "source": item["source"],
            "messages": [{"role": turn["role"], "content": turn["content"]} for turn in item["messages"]],
            "reference": item["reference"],
            "answers": {model: _answer(rows[item["id"]]) for model, rows in by_model.items() if item["id"] in rows},
        }
        for item in sorted(items.values(), key=lambda item: order.index(item["domain"]))
    ]


def _answer(row: Row) -> dict[str, Any]:
    kept = ("response", "finish_reason", "num_tokens", "score", "status", "extracted", "details")
    return {name: row.get(name) for name in kept}
