"""The results of lm-evaluation-harness for a model, as rows of the table that it prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from l2s.report.numbers.schema import Harness, HarnessRow


def harness(written: dict[str, Any]) -> Harness:
    """The part of evaluation/lm_eval/<model>.json that results.json keeps."""
    return {"version": written["lm_eval_version"], "limit": written["config"]["limit"], "rows": list(_rows(written))}


def _rows(written: dict[str, Any]) -> Iterator[HarnessRow]:
    """A row for each task or group of tasks, filter and metric, in the harness's order."""
    for task, measured in (written["results"] | written.get("groups", {})).items():
        for name, value in sorted(measured.items()):
            metric, comma, of_filter = name.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            stderr = measured.get(f"{metric}_stderr,{of_filter}")
            yield {
                "task": task,
                "alias": measured.get("alias", task),
                "version": written["versions"].get(task),
                "filter": of_filter,
                "num_fewshot": written["n-shot"].get(task),
                "items": written["n-samples"].get(task, {}).get("effective"),
                "metric": metric,
                "higher_is_better": written["higher_is_better"].get(task, {}).get(metric),
                "value": value,
                "stderr": stderr if isinstance(stderr, float) else None,
            }
