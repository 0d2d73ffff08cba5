"""What the report says of the teacher's answers."""

from __future__ import annotations

import pytest

from l2s.report.text.sections import build_sections
from l2s.report.text.strings import Text
from l2s.report.text.tables.answers import answer_table
from l2s.run_dir import RunDir
from support.synthetic_run import load_results


def test_reference_solutions_are_not_called_the_teachers_answers(reported: RunDir) -> None:
    results = load_results(reported)
    for answers, title in (
        ("teacher", "Teacher's answers to the training items"),
        ("reference", "Reference solutions as training answers"),
        ("aiops=reference,math=reference", "Training answers: reference solutions (math, AIOps), and the teacher's"),
    ):
        results["config"]["answers"] = answers
        results["stages"]["generate"]["metrics"]["curation"] = {}  # a teacher answered, too
        assert answer_table(results, Text("en")).header[0] == title
        (training,) = (section for section in build_sections(results, Text("en"), []) if section.key == "curves")
        assert title in [block.title for block in training.blocks]
    del results["stages"]["generate"]["metrics"]["curation"]  # no other domain has training items
    assert answer_table(results, Text("en")).header[0] == "Reference solutions as training answers"


def test_the_context_of_a_domain_with_references_is_named(reported: RunDir) -> None:
    """KD's teacher was shown it, though it answered nothing there."""
    results = load_results(reported)
    results["config"] |= {"teacher_context": "code=fewshot:2,math=fewshot:4", "answers": "math=reference"}
    results["stages"]["generate"]["metrics"]["curation"] = {"aiops": {}}
    rows = [[cell.value for cell in row] for row in answer_table(results, Text("en")).rows]
    assert ["What the teacher saw and the students did not", "math=fewshot:4"] in rows


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
