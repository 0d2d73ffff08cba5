"""The tables of scores: one for each domain and model, how answers ended, and the controls of the graders."""

from __future__ import annotations

from l2s.report.numbers.results import shown_domains
from l2s.report.numbers.schema import DomainResult, Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.table import Cell, Cells, Table, domain_label, make_table
from l2s.tasks.table import task_of


def score_table(results: Results, text: Text) -> Table:
    """A row for each domain, a column for each model; the share of a domain's strict verdict is below its score."""
    evaluation = results["evaluation"]
    rows: list[Cells] = []
    for domain in shown_domains(results):
        found = {model: e["domain_results"].get(domain) for model, e in evaluation.items()}
        first = next((result for result in found.values() if result), None)
        if first is None:
            continue
        name = Cell(domain_label(results, domain, text), metric_label(first["metric"], first["n"], text))
        rows.append([name, *(score_cell(result) for result in found.values())])
        strict = task_of(domain).strict_detail
        if strict in first["also"]:
            name = Cell(name.value, metric_label(strict, first["n"], text))
            rows.append([name, *(_strict_cell(result, strict) for result in found.values())])
    return make_table([text("domain"), *(text(model) for model in evaluation)], rows)


def metric_label(metric: str, n: int, text: Text) -> str:
    """Metric and number of items, such as `exact match, n=200`."""
    return text("metric_of", metric=text.named(metric), n=n)


def _strict_cell(result: DomainResult | None, strict: str) -> Cell:
    if result is None or strict not in result["also"]:
        return Cell(formats.NONE)
    return Cell(formats.percent(result["also"][strict]), formats.percent_bounds(result["also_ci95"][strict]))


def score_cell(result: DomainResult | None, *, show_count: bool = False) -> Cell:
    """A score with its interval below it; a dash if the model has none or the domain is not graded."""
    if result is None or result["main_metric"] is None or result["ci95"] is None:
        return Cell(formats.NONE)
    count = f", n={result['n']}" if show_count else ""
    return Cell(formats.percent(result["main_metric"]), formats.percent_bounds(result["ci95"]) + count)


def outcome_table(results: Results, text: Text) -> Table:
    """Truncation, missing answers and the grader's verdicts, by domain and model."""
    header = ("domain", "model", "items", "truncated", "no_answer", "mean_tokens", "statuses", "also")
    rows: list[Cells] = [
        [
            domain_label(results, domain, text),
            text(model),
            formats.count(result["n"]),
            Cell(formats.percent(result["truncated"] / result["n"]), formats.count(result["truncated"])),
            Cell(formats.percent(result["no_answer"] / result["n"]), formats.count(result["no_answer"])),
            formats.count(result["mean_tokens"]),
            text("comma").join(f"{text.named(status)} {number}" for status, number in result["statuses"].items()),
            text("comma").join(f"{text.named(name)} {formats.percent(share)}" for name, share in result["also"].items())
            or formats.NONE,
        ]
        for domain in shown_domains(results)
        for model, evaluation in results["evaluation"].items()
        if (result := evaluation["domain_results"].get(domain))
    ]
    return make_table([text(name) for name in header], rows, is_grouped=True)


def control_table(results: Results, text: Text) -> Table:
    """The grader's scores on answers without understanding, and on the reference answer."""
    rows: list[Cells] = [
        [domain_label(results, domain, text), text.named(name), formats.percent(score)]
        for domain, controls in results["controls"].items()
        for name, score in controls.items()
    ]
    return make_table([text(name) for name in ("domain", "control", "score_column")], rows, is_grouped=True)
