"""results.json: every number of a run in one object, built from its files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from l2s.jsonl import Row
from l2s.report.numbers import costs, scores
from l2s.report.numbers.files import RunFiles
from l2s.report.numbers.harness import harness
from l2s.report.numbers.schema import Overlap, Results
from l2s.report.text.strings import Text
from l2s.tasks.contamination import DomainOverlap, overlap
from l2s.tasks.table import in_order, task_of

CUT_PREDICTIONS_LIMIT = 0.05  # share of cut answers above which a score says as much about the limit as about the model

GOLD = "gold"  # the control that must be graded as right
CONTROL_LIMIT = 0.15  # what the others must stay below


def build_results(files: RunFiles) -> Results:
    """Compute everything that the reports show."""
    models = costs.model_costs(files.manifests)
    metrics = {domain: task_of(domain).metric(files.config) for domain in scores.domains_in(files.predictions)}
    results: Results = {
        "experiment_name": files.config.experiment_name,
        "evaluation": scores.evaluate_models(files.predictions, metrics),
        "sources": _sources(files),
        "controls": _controls(files),
        "comparisons": scores.compare_models(files.predictions),
        "gap_recovered": scores.recover_gaps(files.predictions),
        "fidelity": {model: scores.measure_fidelity(rows) for model, rows in files.fidelity.items()},
        "fidelity_comparisons": scores.compare_fidelity(files.fidelity),
        "lm_eval": {model: harness(found) for model, found in files.lm_eval.items()},
        "models": models,
        "ratios": costs.ratios_to_teacher(models),
        "stages": costs.stage_costs(files.manifests),
        "disk_bytes": costs.disk_bytes(files.root),
        "curves": {arm: [_numbers(row) for row in rows] for arm, rows in files.curves.items()},
        "heldout_curves": {arm: [_numbers(row) for row in rows] for arm, rows in files.heldout_curves.items()},
        "contamination": {domain: _overlap(found) for domain, found in overlap(files.train, files.eval).items()},
        "warnings": [],
        "config": files.config.model_dump(mode="json"),
        "environment": costs.environment(files.manifests),
    }
    results["warnings"] = [*report_warnings(results, files), *_stage_warnings(files)]
    return results


def _sources(files: RunFiles) -> dict[str, list[str]]:
    """Where the items of each domain come from, as the items themselves say."""
    answered = [row for rows in files.predictions.values() for row in rows]
    pairs = [(item["domain"], item["source"]) for item in files.eval] or [(r["domain"], r["source"]) for r in answered]
    found: dict[str, set[str]] = {domain: set() for domain in in_order(domain for domain, _ in pairs)}
    for domain, source in pairs:
        found[domain].add(source)
    return {domain: sorted(sources) for domain, sources in found.items()}


def _numbers(row: Row) -> dict[str, float]:
    return {name: value for name, value in row.items() if isinstance(value, int | float)}


def _controls(files: RunFiles) -> dict[str, dict[str, float]]:
    """What the preparation of the data measured with the graders."""
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


def _stage_warnings(files: RunFiles) -> list[str]:
    text = Text(files.config.lang)
    return [
        text("stage_warning", stage=stage, warning=text.stage_says(warning))
        for stage, manifest in files.manifests.items()
        for warning in manifest.metrics.get("warnings", [])
    ]


def report_warnings(results: Results, files: RunFiles) -> list[str]:
    """What the files show that limits a conclusion."""
    text = Text(files.config.lang)
    return [
        *_source_warnings(results, text),
        *_truncation_warnings(results, files.config.max_new_tokens, text),
        *_coverage_warnings(files, text),
    ]


def _source_warnings(results: Results, text: Text) -> Iterator[str]:
    for domain, found in results["contamination"].items():
        counts = {"domain": text.domain(domain), "n": found["eval_items"]}
        if found["duplicates"]:
            because = _because(results, domain, text)
            yield text("warn_contaminated", found=len(found["duplicates"]), because=because, **counts)
        if found["ngram_overlaps"]:
            yield text("warn_ngrams", found=len(found["ngram_overlaps"]), **counts)
    for domain, sources in results["sources"].items():
        yield from (text.of(said) for source, said in task_of(domain).stand_ins.items() if source in sources)
    yield from _fault_warnings(results, text)
    for domain, controls in results["controls"].items():
        failed = [name for name, score in controls.items() if (score < 1 if name == GOLD else score >= CONTROL_LIMIT)]
        if failed:
            yield text("warn_controls", domain=text.domain(domain), names=", ".join(failed))


def _fault_warnings(results: Results, text: Text) -> Iterator[str]:
    """Where a grader itself failed, which says nothing about the answer but counts as 0."""
    for model, evaluation in results["evaluation"].items():
        for domain, result in evaluation["domain_results"].items():
            failed = {name: result["statuses"][name] for name in task_of(domain).faults if name in result["statuses"]}
            if failed:
                parts = text("comma").join(f"{text.named(name)} {number}" for name, number in failed.items())
                counts = {"found": sum(failed.values()), "n": result["n"]}
                yield text("warn_faults", domain=text.domain(domain), model=text(model), parts=parts, **counts)


def _because(results: Results, domain: str, text: Text) -> str:
    """The setting that makes training items of evaluation items, in brackets, where it is in force."""
    setting = task_of(domain).overlap_setting
    if setting is None or results["config"][setting[0]] != setting[1]:
        return ""
    return text("because", setting="=".join(setting))


def shown_domains(results: Results) -> list[str]:
    """The domains that any model was evaluated on, in the order of the reports."""
    return in_order(domain for found in results["evaluation"].values() for domain in found["domain_results"])


def has_scores(results: Results) -> bool:
    """Whether any answer was graded; a user's own data need not be."""
    found = [result for models in results["evaluation"].values() for result in models["domain_results"].values()]
    return not found or any(result["main_metric"] is not None for result in found)


def is_synthetic(sources: Mapping[str, list[str]], domain: str) -> bool:
    """Whether the items of a domain come from a generator of this project."""
    return any("synthetic" in source for source in sources.get(domain, []))


def is_contaminated(results: Results, domain: str) -> bool | None:
    """Whether evaluation items of a domain are in its training data; None where that was not looked into."""
    found = results["contamination"].get(domain)
    return None if found is None else bool(found["duplicates"])


def _truncation_warnings(results: Results, limit: int, text: Text) -> list[str]:
    parts = [
        text("truncated_part", model=text(model), domain=text.domain(domain), found=result["truncated"], n=result["n"])
        for model, evaluation in results["evaluation"].items()
        for domain, result in evaluation["domain_results"].items()
        if result["truncated"] > CUT_PREDICTIONS_LIMIT * result["n"]
    ]
    return [text("warn_truncated", limit=limit, parts=text("join").join(parts))] if parts else []


def _coverage_warnings(files: RunFiles, text: Text) -> Iterator[str]:
    """Name the models that were not evaluated, and those whose answers are incomplete."""
    items = {row["id"] for row in files.eval}
    for model, rows in files.predictions.items():
        answered = items & {row["id"] for row in rows}
        if items - answered:
            yield text("warn_missing_items", model=text(model), found=len(answered), n=len(items))
    expected = ("teacher", "student_base", *(f"student_{arm}" for arm in files.config.arms.split(",")))
    absent = [model for model in expected if model not in files.predictions]
    if absent:
        yield text("warn_absent", models=", ".join(text(model) for model in absent))


def item_rows(files: RunFiles) -> list[dict[str, Any]]:
    """One object an evaluation item, with the answer of every model, for the browser of the HTML report."""
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
