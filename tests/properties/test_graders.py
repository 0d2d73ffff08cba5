"""Whatever a model writes, a grader gives a grade of its kind, and space around the answer changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.jsonl import dump_row
from l2s.tasks import aiops, math
from l2s.tasks.aiops.items import eval_items
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.final_number import final_number
from l2s.tasks.own import TASK as OWN
from l2s.tasks.own.choice import LETTERS, chosen_letter
from l2s.tasks.own.graders import GRADERS
from l2s.tasks.program import extract_program
from l2s.tasks.task import Task
from l2s.tasks.types import Grade, Item
from l2s.tasks.working import math_working, program_working, text_working
from support.properties import ANSWERS, BLANK, holds, st

FINISH = st.sampled_from(["stop", "length"])
REFERENCES = {"exact": "18", "contains": "B", "number": "1,234", "json": {"a": 1}, "choice": "B"}


def own_item(grader: str) -> Item:
    reference = GRADERS[grader].reference(REFERENCES[grader])
    return Item(
        id="a", domain="own", source="own", messages=[{"role": "user", "content": "?"}], reference=reference,
        meta={"problem": "?", "row": {}},
    )  # fmt: skip


MATH = Item(
    id="m", domain="math", source="gsm8k", messages=[{"role": "user", "content": "?"}], reference="1234", meta={}
)
GRADED: dict[str, tuple[Task, Item, ExperimentConfig]] = {
    "math": (math.TASK, MATH, ExperimentConfig()),
    "aiops": (aiops.TASK, eval_items(ExperimentConfig(aiops_eval_size=1))[0], ExperimentConfig()),
    **{name: (OWN, own_item(name), ExperimentConfig(own_grader=name)) for name in REFERENCES},
}


def graded(name: str, response: str, finish_reason: str = "stop") -> Grade:
    task, item, config = GRADED[name]
    grade = task.grade(item, response, finish_reason, config)
    assert grade is not None
    return grade


@pytest.mark.parametrize("name", GRADED)
@holds(response=ANSWERS, finish_reason=FINISH)
def test_any_answer_gets_a_grade_of_its_kind(name: str, response: str, finish_reason: str) -> None:
    grade = graded(name, response, finish_reason)
    assert grade.status in GRADED[name][0].statuses
    assert 0 <= grade.score <= 1
    assert (grade.status == "correct") <= (grade.score == 1)
    assert grade.extracted is None or isinstance(grade.extracted, str)
    assert json.loads(dump_row({"extracted": grade.extracted, "details": grade.details}))["details"] == grade.details
    if finish_reason == "length":
        assert (grade.score, grade.status) == (0, "truncated")


@pytest.mark.parametrize("name", GRADED)
@holds(response=ANSWERS, blank=BLANK)
def test_space_after_an_answer_changes_no_grade(name: str, response: str, blank: str) -> None:
    before, after = graded(name, response), graded(name, response + blank)
    assert (after.score, after.status) == (before.score, before.status)


@pytest.mark.parametrize("name", GRADED)
@holds(response=ANSWERS, thought=st.text("abc 123.\n", max_size=20))
def test_thinking_before_an_answer_changes_no_grade(name: str, response: str, thought: str) -> None:
    if "think" in response or "channel" in response:
        return  # the answer has marks of its own
    before, after = graded(name, response), graded(name, f"<think>{thought}</think>{response}")
    assert (after.score, after.status) == (before.score, before.status)


NUMBER_IN = (
    "#### {}", "#### {} ", "{}", "The answer is {}.", "The answer is **{}**.", "So it is \\boxed{{{}}}.", "= ${}",
    "**{}**",
    "2 + 2 is not it.\n#### {}", "Answer: {} apples", "答案是 {}。", "```\n{}\n```",
)  # fmt: skip


@holds(number=st.integers(-(10**9), 10**9), form=st.sampled_from(NUMBER_IN), commas=st.booleans())
def test_a_number_is_found_in_every_usual_form(number: int, form: str, commas: bool) -> None:
    written = f"{number:,}" if commas else str(number)
    assert final_number(form.format(written)) == number


@holds(number=st.decimals(-(10**6), 10**6, places=2, allow_nan=False))
def test_a_decimal_number_is_found(number: Any) -> None:
    assert final_number(f"#### {number}") == number
    assert graded("math", f"#### {number}").status == ("correct" if number == 1234 else "wrong")


LETTER_IN = (
    "{}",
    "({})",
    "{}.",
    "**{}**",
    "The answer is {}.",
    "The answer is ({})",
    "答案：{}",
    "故选{}",
    "\\boxed{{{}}}",
)


@holds(letter=st.sampled_from(LETTERS), form=st.sampled_from(LETTER_IN), blank=BLANK)
def test_a_letter_is_found_in_every_usual_form(letter: str, form: str, blank: str) -> None:
    assert chosen_letter(blank + form.format(letter) + blank) == letter


@holds(text=ANSWERS)
def test_a_text_without_marks_has_no_thinking(text: str) -> None:
    assert without_thinking(text) is None or without_thinking(without_thinking(text) or "") is not None
    if not any(mark in text for mark in ("<", "[", "◁")):
        assert without_thinking(text) == text


@holds(text=ANSWERS)
def test_a_program_is_text_or_nothing(text: str) -> None:
    program = extract_program(text, entry_point="add", prompt="def add(a, b):\n    '''Add.'''\n")
    assert program is None or program.strip()


@holds(text=ANSWERS)
def test_workings_are_texts(text: str) -> None:
    assert all(isinstance(working(text), str) for working in (text_working, math_working, program_working))
