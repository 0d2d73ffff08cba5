"""What the report says of the teacher's answers."""

from __future__ import annotations

import pytest

from l2s.report.text.strings import Text
from l2s.report.text.tables.answers import answer_table
from l2s.run_dir import RunDir
from support.synthetic_run import load_results


@pytest.mark.parametrize(
    ("context", "answered", "shown"),
    [
        ("aiops=reference,math=fewshot:2", ["math"], "math=fewshot:2"),
        ("aiops=reference", ["math", "code"], None),
        ("own=reference", ["billing"], "own=reference"),  # a domain that the user's rows name
        ("fewshot:2", ["math"], "fewshot:2"),
        ("aiops=reference", [], "aiops=reference"),  # OPD alone, or an early version: nothing is known
        ("none", ["math"], None),
    ],
)
def test_the_report_names_the_context_of_the_domains_that_were_answered(
    reported: RunDir, context: str, answered: list[str], shown: str | None
) -> None:
    results = load_results(reported)
    results["config"]["teacher_context"] = context
    results["stages"]["generate"]["metrics"]["curation"] = {domain: {} for domain in answered}
    rows = [[cell.value for cell in row] for row in answer_table(results, Text("en")).rows]
    found = [value for name, value in rows if name == "What the teacher saw and the students did not"]
    assert found == ([shown] if shown else [])
