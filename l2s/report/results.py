"""results.json: every number of a run in one object, built from its files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from l2s.jsonl import Row
from l2s.report import costs, scores
from l2s.report.files import RunFiles
from l2s.report.schema import DOMAINS, MODELS, Overlap, Results
from l2s.report.strings import Text
from l2s.tasks.table import TASKS
from l2s.tasks.contamination import overlap

TRUNCATION_LIMIT = 0.05  # share of cut answers above which a score says as much about the limit as about the model


def build_results(files: RunFiles) -> Results:
    """Compute everything that the reports show."""
    models = costs.model_costs(files.manifests)
    contamination = measure_contamination(files)
    evaluation = scores.evaluate_models(files.predictions, {domain: TASKS[domain].METRIC for domain in DOMAINS})
    results: Results = {
        "experiment_name": files.config.experiment_name,
        "evaluation": evaluation,
        "sources": _sources(files),
        "comparisons": scores.compare_models(files.predictions),
        "gap_recovered": scores.recover_gaps(files.predictions),
        "fidelity": {model: scores.measure_fidelity(rows) for model, rows in files.fidelity.items()},
        "fidelity_comparisons": scores.compare_fidelity(files.fidelity),
        "models": models,
        "ratios": costs.ratios_to_teacher(models),
        "stages": costs.stage_costs(files.manifests),
        "disk_bytes": costs.disk_bytes(files.root),
        "curves": {arm: [_numbers(row) for row in rows] for arm, rows in files.curves.items()},
        "contamination": contamination,
        "warnings": [],
        "config": files.config.model_dump(mode="json"),
        "environment": costs.environment(files.manifests),
    }
    results["warnings"] = [*_stage_warnings(files), *report_warnings(results, files)]
    return results


def _sources(files: RunFiles) -> dict[str, list[str]]:
    """Where the items of each domain come from, as the items themselves say."""
    rows = files.eval or [row for answered in files.predictions.values() for row in answered]
    found = {domain: {str(row["source"]) for row in rows if row["domain"] == domain} for domain in DOMAINS}
    return {domain: sorted(sources) for domain, sources in found.items() if sources}


def _numbers(row: Row) -> dict[str, float]:
    return {name: value for name, value in row.items() if isinstance(value, int | float)}


def measure_contamination(files: RunFiles) -> dict[str, Overlap]:
    """Overlap of training and evaluation items, for the domains that have both."""
    found: dict[str, Overlap] = {}
    for domain in DOMAINS:
        train = [row for row in files.train if row["domain"] == domain]
        evaluation = [row for row in files.eval if row["domain"] == domain]
        if train and evaluation:
            found[domain] = _overlap(train, evaluation)
    return found


def _overlap(train: list[Row], evaluation: list[Row]) -> Overlap:
    found = overlap(train, evaluation)
    return {
        "train_items": len(train),
        "eval_items": len(evaluation),
        "duplicates": found.duplicates,
        "ngram_overlaps": found.ngrams,
    }


def _stage_warnings(files: RunFiles) -> list[str]:
    text = Text(files.config.lang)
    return [
        text("stage_warning", stage=stage, warning=warning)
        for stage, manifest in files.manifests.items()
        for warning in manifest.metrics.get("warnings", [])
    ]


def report_warnings(results: Results, files: RunFiles) -> list[str]:
    """What the files show that limits a conclusion."""
    text = Text(files.config.lang)
    return [
        *_source_warnings(results, files.config.code_train_source, text),
        *_truncation_warnings(results, files.config.max_new_tokens, text),
        *_coverage_warnings(files, text),
    ]


def _source_warnings(results: Results, code_train_source: str, text: Text) -> Iterator[str]:
    for domain, found in results["contamination"].items():
        because = text("because_humaneval") if domain == "code" and code_train_source == "humaneval" else ""
        counts = {"domain": text(domain), "n": found["eval_items"]}
        if found["duplicates"]:
            yield text("warn_contaminated", found=len(found["duplicates"]), because=because, **counts)
        if found["ngram_overlaps"]:
            yield text("warn_ngrams", found=len(found["ngram_overlaps"]), **counts)
    if is_synthetic(results["sources"], "math"):
        yield text("warn_synthetic")


def is_synthetic(sources: Mapping[str, list[str]], domain: str) -> bool:
    """Whether the items of a domain come from a generator of this project."""
    return any("synthetic" in source for source in sources.get(domain, []))


def _truncation_warnings(results: Results, limit: int, text: Text) -> Iterator[str]:
    for model, evaluation in results["evaluation"].items():
        for domain, result in evaluation["domain_results"].items():
            if result["truncated"] > TRUNCATION_LIMIT * result["n"]:
                values = {"found": result["truncated"], "n": result["n"], "limit": limit}
                yield text("warn_truncated", model=text(model), domain=text(domain), **values)


def _coverage_warnings(files: RunFiles, text: Text) -> Iterator[str]:
    """Name the models that were not evaluated, and those whose answers are incomplete."""
    items = {row["id"] for row in files.eval}
    for model, rows in files.predictions.items():
        answered = items & {row["id"] for row in rows}
        if items - answered:
            yield text("warn_missing_items", model=text(model), found=len(answered), n=len(items))
    absent = [model for model in MODELS if model not in files.predictions and model != "student_opd"]
    if absent:
        yield text("warn_absent", models=", ".join(text(model) for model in absent))


def item_rows(files: RunFiles) -> list[dict[str, Any]]:
    """One object an evaluation item, with the answer of every model, for the browser of the HTML report."""
    by_model = {model: {row["id"]: row for row in rows} for model, rows in files.predictions.items()}
    items = {row["id"]: row for rows in (files.eval, *files.predictions.values()) for row in rows}
    return [
        {
            "id": item["id"],
            "domain": item["domain"],
            "source": item["source"],
            "messages": [{"role": turn["role"], "content": turn["content"]} for turn in item["messages"]],
            "reference": item["reference"],
            "answers": {model: _answer(rows[item["id"]]) for model, rows in by_model.items() if item["id"] in rows},
        }
        for _, group in groupby(sorted(items.values(), key=_domain_order), key=_domain_order)
        for item in group
    ]


def _domain_order(row: Row) -> int:
    return DOMAINS.index(row["domain"])


def _answer(row: Row) -> dict[str, Any]:
    kept = ("response", "finish_reason", "num_tokens", "score", "status", "extracted", "details")
    return {name: row.get(name) for name in kept}
