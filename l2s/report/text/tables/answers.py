"""The tables of the teacher's answers: their number, those that students learn from, and items without a right one."""

from __future__ import annotations

from l2s.config import ALL_DOMAINS, answers_by_domain, contexts_by_domain
from l2s.metrics import StageMetrics
from l2s.report.numbers.schema import Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.table import Cell, Cells, Table, domain_label, make_table
from l2s.tasks.table import in_order, task_of

SHOWN_NEVER_RIGHT = 20  # ids of a domain


def answers_title(results: Results, text: Text) -> str:
    """Whose the training answers are."""
    answers = str(results["config"].get("answers", "teacher"))  # folders of earlier versions lack it
    if answers == "teacher":
        return text("teacher_answers")
    metrics = results["stages"]["generate"]["metrics"] if "generate" in results["stages"] else None
    if answers == "reference" or (metrics and "curation" not in metrics):
        return text("reference_answers")
    domains = text("comma").join(map(text.domain, in_order(answers_by_domain(answers))))
    return text("mixed_answers", domains=domains)


def answer_table(results: Results, text: Text) -> Table:
    """How many of the teacher's training answers were right, and how many more the further tries added."""
    metrics = results["stages"]["generate"]["metrics"] if "generate" in results["stages"] else {}
    rows: list[Cells] = [
        [text(name), formats.count(metrics[name])]
        for name in ("num_responses", "num_rejected", "truncated")
        if name in metrics
    ]
    if {"generate", "opd"} & results["stages"].keys() and (context := _context_used(results, metrics)) != "none":
        rows.append([text("teacher_context"), context])
    for domain, score in metrics.get("mean_score", {}).items():
        rows.append([text("mean_score_on", domain=domain_label(results, domain, text)), formats.percent(score)])
    for found in metrics.get("tries", []):
        yielded = text("try_yield", correct=formats.count(found["correct"]), asked=formats.count(found["asked"]))
        rows.append([text("try", number=found["try"]), yielded])
    return make_table([answers_title(results, text), text("value")], rows)


def _context_used(results: Results, metrics: StageMetrics) -> str:
    """The teacher_context, without domains that have no training items, as far as the metrics tell."""
    context = str(results["config"].get("teacher_context", "none"))
    answered = {task_of(domain).name for domain in metrics.get("curation", {})}
    answered |= answers_by_domain(str(results["config"].get("answers", "teacher"))).keys() if answered else set()
    named = contexts_by_domain(context)
    if ALL_DOMAINS in named or not answered:
        return context
    return ",".join(f"{domain}={of}" for domain, of in named.items() if domain in answered) or "none"


def curation_table(results: Results, text: Text) -> Table:
    """Of the answers in each domain: how many were kept, why the others were not, and how hard the items were."""
    metrics = results["stages"]["generate"]["metrics"] if "generate" in results["stages"] else {}
    rows: list[Cells] = [
        [
            domain_label(results, domain, text),
            formats.count(found["items"]),
            formats.count(found["answers"]),
            formats.count(found["unusable"]),
            formats.count(found["duplicates"]),
            formats.count(found["outliers"]),
            *(formats.count(number) for number in found["difficulty"]),
        ]
        for domain, found in metrics.get("curation", {}).items()
    ]
    header = (
        "domain", "curation_items", "curation_answers", "curation_unusable", "curation_duplicates", "curation_outliers",
        "none_right", "few_right", "most_right", "all_right",
    )  # fmt: skip
    return make_table([text(name) for name in header], rows)


def never_right_table(results: Results, text: Text) -> Table:
    """By domain, the training items that no answer gets right: how many of the graded ones, and the first ids."""
    metrics = results["stages"]["generate"]["metrics"] if "generate" in results["stages"] else {}
    rows: list[Cells] = []
    for domain, ids in results["never_right"].items():
        graded = sum(metrics["curation"][domain]["difficulty"]) if domain in metrics.get("curation", {}) else 0
        share = formats.percent(len(ids) / graded) if graded else ""
        named = [*ids[:SHOWN_NEVER_RIGHT], *(["…"] if len(ids) > SHOWN_NEVER_RIGHT else [])]
        rows.append([domain_label(results, domain, text), Cell(formats.count(len(ids)), share), ", ".join(named)])
    return make_table([text(name) for name in ("domain", "items", "item_ids")], rows)
