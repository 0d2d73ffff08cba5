"""model_comparison.csv: a row for every model and domain, with bare numbers for a spreadsheet."""

from __future__ import annotations

import csv
import io

from l2s.report.numbers.results import is_contaminated
from l2s.report.numbers.schema import DomainResult, Results
from l2s.tasks.table import TASKS
from l2s.visible import in_one_line

Value = str | int | float | None

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # a spreadsheet computes a text that begins so


def render_csv(results: Results) -> str:
    """The table as text; a measure that was not taken is an empty cell."""
    rows = [
        _row(results, model, domain)
        for model, evaluation in results["evaluation"].items()
        for domain in evaluation["domain_results"]
    ]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else ["model", "domain"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _cell(value: Value) -> Value:
    """Numbers as they are; text in one line, behind an apostrophe where a spreadsheet would run it as a formula."""
    if not isinstance(value, str):
        return value
    text = in_one_line(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _row(results: Results, model: str, domain: str) -> dict[str, Value]:
    result = results["evaluation"][model]["domain_results"][domain]
    fidelity = results["fidelity"][model].get("domains", {}).get(domain) if model in results["fidelity"] else None
    bounds = result["ci95"]
    kl_bounds = fidelity["ci95"]["mean_kl"] if fidelity and fidelity["ci95"] else None
    cost = results["models"].get(model)
    return {
        "model": model,
        "domain": domain,
        "source": " ".join(results["sources"].get(domain, [])),
        "metric": result["metric"],
        "n": result["n"],
        "main_metric": result["main_metric"],
        "ci95_low": bounds[0] if bounds else None,
        "ci95_high": bounds[1] if bounds else None,
        "contaminated": is_contaminated(results, domain),
        **_strict_shares(result),
        "truncated": result["truncated"],
        "no_answer": result["no_answer"],
        "mean_tokens": result["mean_tokens"],
        "mean_kl": fidelity and fidelity["mean_kl"],
        "mean_kl_ci95_low": kl_bounds[0] if kl_bounds else None,
        "mean_kl_ci95_high": kl_bounds[1] if kl_bounds else None,
        "top1_agreement": fidelity and fidelity["top1_agreement"],
        "perplexity": fidelity and fidelity["perplexity"],
        "parameters": cost and cost["parameters"],
        "weight_bytes": cost and cost["weight_bytes"],
        "peak_memory_bytes": cost and cost["peak_memory_bytes"],
        "tokens_per_second": cost and cost["tokens_per_second"],
    }


def _strict_shares(result: DomainResult) -> dict[str, Value]:
    """Columns of the strict verdicts of all domains; empty where a domain has none or another one."""
    found: dict[str, Value] = {}
    for name in filter(None, (task.strict_detail for task in TASKS.values())):
        low, high = result["also_ci95"].get(name, (None, None))
        found |= {name: result["also"].get(name), f"{name}_ci95_low": low, f"{name}_ci95_high": high}
    return found
