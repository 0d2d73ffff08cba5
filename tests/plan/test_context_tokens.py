"""What the teacher alone sees: its tokens beside what is rendered, and in which stages a plan counts them."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.generation.context import teacher_messages
from l2s.plan.command import assumptions
from l2s.plan.context_tokens import context_tokens
from l2s.plan.estimates import estimate
from l2s.plan.hardware import Hardware
from l2s.plan.layout import lay_out
from l2s.plan.prediction import Plan
from l2s.runner.selection import select_stages
from l2s.tasks.table import task_of
from l2s.tasks.task import rough_tokens
from l2s.tasks.types import Message
from support.plans import CPU, GPU, fleet_of, situation

OF_TEACHER = ("generate", "score")
OF_ALL = ("sft", "kd", "evaluate_teacher", "evaluate_student_kd")


def context_in(folder: Path, context: str) -> str:
    """`context` with the file that it names, made in `folder`."""
    (folder / "runbook.md").write_text("Look at the database first. " * 80 + "先看数据库。" * 20)
    return context.replace("FILE", str(folder / "runbook.md"))


def length(messages: list[Message]) -> int:
    """Tokens of the messages, with those around each turn."""
    return sum(5 + rough_tokens(message["content"]) for message in messages)


@pytest.mark.parametrize("context", ["fewshot:1", "fewshot:6", "reference", "file:FILE"])
@pytest.mark.parametrize("domain", ["math", "aiops"])
def test_the_tokens_of_a_context_are_those_of_the_messages(tmp_path: Path, context: str, domain: str) -> None:
    config = ExperimentConfig(
        teacher_context=context_in(tmp_path, context), domains=domain, math_source="one_step", math_train_size=40,
        aiops_train_size=40, aiops_language="en",
    )  # fmt: skip
    task = task_of(domain)
    items = task.train_items(config)
    shown = teacher_messages(items, config)
    found = mean(length(shown[item["id"]]) - length(item["messages"]) for item in items)
    assert context_tokens(domain, task.lengths("train", config), config) == pytest.approx(found, rel=0.25)


@pytest.mark.parametrize("hardware", [GPU, CPU], ids=["gpu", "cpu"])
@pytest.mark.parametrize("context", ["fewshot:8", "reference", "file:FILE"])
def test_only_the_teacher_waits_for_its_context(tmp_path: Path, context: str, hardware: Hardware) -> None:
    plain, shown = situation(hardware), situation(hardware, teacher_context=context_in(tmp_path, context))
    for stage in OF_TEACHER:
        assert estimate(stage, shown).seconds > estimate(stage, plain).seconds, stage
    for stage in OF_ALL:
        assert estimate(stage, shown).seconds == estimate(stage, plain).seconds, stage
    assert estimate("score", shown).temporary > 2 * estimate("score", plain).temporary
    shown, plain = (one.changed({"teacher_signal": "online"}) for one in (shown, plain))
    assert estimate("kd", shown).seconds > estimate("kd", plain).seconds
    assert estimate("kd", shown).memory.total > estimate("kd", plain).memory.total


def test_a_context_of_one_domain_costs_nothing_in_the_others() -> None:
    texts = situation(GPU, teacher_context="aiops=fewshot:2").training_texts
    assert [bool(text.context) for text in texts] == [text.source.startswith("aiops") for text in texts]
    assert not any(text.context for text in situation(GPU, teacher_context="fewshot:2").evaluation_texts)


def test_reference_solutions_are_as_long_as_they_are_and_thoughts_as_long_as_they_may_be() -> None:
    own = {text.source: text.answer for text in situation(GPU, answers="reference").training_texts}
    assert own["gsm8k"] == 88
    uncut = situation(GPU, answers="reference", max_new_tokens=16)
    assert uncut.training_texts == situation(GPU, answers="reference").training_texts  # no model writes them
    thinking = situation(GPU, thinking="on", max_new_tokens=1500)
    assert {text.answer for text in thinking.training_texts + thinking.evaluation_texts} == {1500}


def test_references_of_one_domain_leave_the_answers_of_the_others_to_the_teacher() -> None:
    mixed = situation(GPU, answers="math=reference", domains="math,code", answers_per_item=3)
    math, code = mixed.training_texts
    assert (math.answer, math.is_reference, code.is_reference) == (88, True, False)
    assert [text.number for text in mixed.answered_texts] == [math.number, 3 * code.number]
    of_code = situation(GPU, domains="math,code", answers_per_item=3, math_train_size=0)
    assert estimate("generate", mixed).seconds == estimate("generate", of_code).seconds
    assert estimate("generate", mixed).disk > estimate("generate", of_code).disk


def test_digits_and_chinese_take_more_tokens_than_words() -> None:
    words, digits, chinese = "teacher student ", "1764202201734021", "一二三四五六七八九十甲乙丙丁戊己"
    assert rough_tokens(digits) > rough_tokens(chinese) > 2 * rough_tokens(words)
    assert rough_tokens("") == 0


@pytest.mark.parametrize("context", ["none", "reference"])
@pytest.mark.parametrize("domain", ["math", "aiops"])
def test_rough_lengths_are_near_those_of_the_tokenizer(domain: str, context: str) -> None:
    """A user's own rows are planned with rough lengths, the built-in domains with measured ones."""
    config = ExperimentConfig(domains=domain, math_source="synthetic", math_train_size=60, aiops_train_size=60)
    task = task_of(domain)
    lengths = task.lengths("train", config)
    items = task.train_items(config)
    if context == "none":
        found, measured = (
            mean(length(item["messages"]) for item in items),
            lengths.prompt - 20,
        )  # without the system turn
    else:
        found, measured = mean(rough_tokens(task.solution(item) or "") for item in items), lengths.solution
    assert found == pytest.approx(measured, rel=0.2)


def test_a_context_whose_file_is_gone_stops_no_plan_of_later_stages(tmp_path: Path) -> None:
    gone = situation(GPU, teacher_context=f"file:{tmp_path / 'gone.md'}")
    assert estimate("kd", gone) == estimate("kd", situation(GPU))


def test_a_context_beside_reference_solutions_costs_signals_alone() -> None:
    shown = situation(GPU, answers="reference", teacher_context="math=fewshot:2")
    plain = situation(GPU, answers="reference")
    assert estimate("score", shown).seconds > estimate("score", plain).seconds
    assert estimate("generate", shown).seconds == estimate("generate", plain).seconds
    assert estimate("sft", shown) == estimate("sft", plain)


def test_on_policy_answers_are_the_students_own_whatever_sft_learns() -> None:
    assert estimate("opd", situation(GPU, answers="reference")) == estimate("opd", situation(GPU))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, None),
        ({"max_length": 900}, "max_length=900 is below the mean length of aiops (1075): training drops what"),
        (
            {"max_length": 340, "max_new_tokens": 300, "overlong": "cut"},
            "gsm8k (381), aiops (1075): training cuts what",
        ),
    ],
    ids=str,
)
def test_the_plan_says_where_most_sequences_are_too_long(fields: dict[str, Any], said: str | None) -> None:
    chosen = situation(GPU, **fields)
    layout = lay_out(select_stages(chosen.config), chosen, fleet_of(1))
    lines = " ".join(assumptions(Plan(chosen, fleet_of(1), layout)))
    assert said in lines if said else "max_length" not in lines
