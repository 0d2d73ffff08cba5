"""Which answers students learn from: right, different, of usual length, and silent about what the teacher was shown."""

from __future__ import annotations

from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.generation.curation import Curator, never_right
from l2s.jsonl import Row
from l2s.metrics import Curation
from l2s.tasks.types import Item
from l2s.tasks.working import math_working, program_working, text_working


def item(name: str, domain: str = "math") -> Item:
    return Item(id=name, domain=domain, source="test", messages=[], reference="3", meta={})


def answer(name: str, response: str, score: float | None = 1.0, num_tokens: int = 10) -> Row:
    graded = {"score": score, "status": ""}
    return {"id": name, "domain": "math", "response": response, "num_tokens": num_tokens, "graded": graded}


def config(**settings: Any) -> ExperimentConfig:
    return ExperimentConfig(keep_correct=True, **settings)


class Curated:
    """What is chosen for all items together."""

    def __init__(self, kept: list[Row], rejected: list[Row], counts: dict[str, Curation]) -> None:
        self.kept, self.rejected, self.counts = kept, rejected, counts


def curate(items: list[Item], answers: dict[str, list[Row]], config: ExperimentConfig) -> Curated:
    curator = Curator(items, answers, config)
    chosen = [curator.choose(item, answers[item["id"]]) for item in items]
    kept, rejected = ([row for one in chosen for row in getattr(one, name)] for name in ("kept", "rejected"))
    return Curated(kept, rejected, curator.counts)


def test_up_to_n_different_right_answers_of_an_item_are_kept_in_order_under_their_own_ids() -> None:
    answers = {
        "a": [answer("a", "1+2=3"), answer("a", "1+1=2", 0.0), answer("a", "So 1 + 2 = 3."), answer("a", "2+1=3")],
        "b": [answer("b", "4-1=3")],
    }
    curated = curate([item("a"), item("b")], answers, config(answers_per_item=3))
    assert [(row["id"], row["response"]) for row in curated.kept] == [("a", "1+2=3"), ("a~2", "2+1=3"), ("b", "4-1=3")]
    assert [row.get("item") for row in curated.kept] == [None, "a", None]
    assert not curated.rejected
    counts = curated.counts["math"]
    assert (counts["items"], counts["answers"], counts["unusable"], counts["duplicates"]) == (2, 3, 1, 1)
    assert counts["difficulty"] == [0, 0, 1, 1]


def test_no_answer_gets_an_id_that_an_item_has() -> None:
    """Own rows may be an earlier sft_train_data.jsonl, whose ids have such numbers already."""
    names = ["q", "q~2", "q~2~2", "q~4"]
    answers = {name: [answer(name, f"{number}+1=3") for number in range(3)] for name in names}
    rows = curate([item(name) for name in names], answers, config(answers_per_item=3)).kept
    assert [row["id"] for row in rows[:6]] == ["q", "q~3", "q~5", "q~2", "q~2~3", "q~2~4"]
    assert len({row["id"] for row in rows}) == 12
    assert [row.get("item", row["id"]) for row in rows] == [name for name in names for _ in range(3)]


def test_an_item_that_no_answer_gets_right_is_listed_with_its_last_answer() -> None:
    answers = {"a": [answer("a", "1", 0.0), answer("a", "2", 0.0)], "b": [answer("b", "1+2=3")]}
    curated = curate([item("a"), item("b")], answers, config())
    assert [row["response"] for row in curated.rejected] == ["2"]
    assert curated.counts["math"]["difficulty"] == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("scores", "listed"),
    [
        ([0.0], True),
        ([0.0, 0.0, 0.0], True),
        ([0.0, 1.0], False),
        ([1.0], False),
        ([0.5, 0.9], True),  # a part of the points is not right
        ([None, 0.0], True),
        ([None], False),  # not graded: nothing is known
        ([], False),
    ],
)
def test_items_that_no_answer_gets_right_are_listed(scores: list[float | None], listed: bool) -> None:
    rows = [answer("a", f"{number}+1=3", score) for number, score in enumerate(scores)]
    for row in rows:
        row["graded"]["status"] = "correct" if row["graded"]["score"] == 1 else "wrong"
    assert never_right(item("b"), [answer("b", "1+2=3")]) is None
    found = never_right(item("a"), rows)
    assert (found is not None) == listed
    if found is not None:
        graded = [score for score in scores if score is not None]
        assert (found["answers"], found["statuses"]) == (len(graded), {"wrong": len(graded)})
        assert found["last_response"] == rows[-1]["response"]
        assert found["reference"] == "3"


def test_answers_far_longer_than_the_others_are_left_out_unless_the_item_has_no_other() -> None:
    items = [item(f"m{number}") for number in range(10)]
    answers = {one["id"]: [answer(one["id"], f"{n}+1=3", num_tokens=20 + n)] for n, one in enumerate(items)}
    answers["m0"].append(answer("m0", "9-6=3", num_tokens=500))
    answers["m1"] = [answer("m1", "8-5=3", num_tokens=500)]
    curated = curate(items, answers, config(answers_per_item=2))
    assert [row["num_tokens"] for row in curated.kept if row["id"].startswith("m0")] == [20]
    assert [row["num_tokens"] for row in curated.kept if row["id"] == "m1"] == [500]
    assert curated.counts["math"]["outliers"] == 1


def test_answers_of_nearly_one_length_have_no_outlier() -> None:
    """Their quartiles are equal: the outer fence is the usual length itself."""
    items = [item(f"m{number}") for number in range(10)]
    answers = {one["id"]: [answer(one["id"], f"{n}+1=3", num_tokens=20)] for n, one in enumerate(items)}
    answers["m0"] += [answer("m0", "9-6=3", num_tokens=23), answer("m0", "8-5=3", num_tokens=31)]
    curated = curate(items, answers, config(answers_per_item=3))
    assert [row["num_tokens"] for row in curated.kept if row["id"].startswith("m0")] == [20, 23]
    assert curated.counts["math"]["outliers"] == 1


def test_answers_without_a_grade_are_kept() -> None:
    curated = curate([item("a")], {"a": [answer("a", "words", None)]}, config())
    assert [row["id"] for row in curated.kept] == ["a"]
    assert curated.counts["math"]["difficulty"] == [0, 0, 0, 0]


def kept(response: str, context: str) -> int:
    """How many of one answer are learned from under a teacher_context."""
    return len(curate([item("a")], {"a": [answer("a", response)]}, ExperimentConfig(teacher_context=context)).kept)


@pytest.mark.parametrize(
    "response",
    [
        "As the reference says, the disk is full.",
        "Based on the reference, it is 3.",
        "This matches the reference.",
        "The reference indicates 3.",
        "According to the solution, it is 3.",
        "The provided solution shows 1+2=3.",
        "From the answer given above: 3",
        "As the hint suggests, 3.",
        "The answer key gives 3.",
        "The official solution is 3.",
        "The ground truth is 3.",
        "As I was shown, it is 3.",
        "It is 3, as you told me.",
        "根据参考答案，磁盘已满。",
        "按照上述解答，结果是 3。",
        "根据提示，磁盘已满。",
        "正如解答所说，结果是 3。",
        "标准答案是 3。",
    ],
)
def test_an_answer_that_gives_the_reference_away_is_never_learned_from(response: str) -> None:
    assert kept(response, "reference") == kept(response, "math=reference") == 0
    assert kept(response, "none") == kept(response, "aiops=reference") == 1  # nothing was shown
    shown = ExperimentConfig(teacher_context="reference")
    assert len(curate([item("a")], {"a": [answer("a", response)]}, shown).rejected) == 1


@pytest.mark.parametrize(
    ("context", "response"),
    [
        ("file:runbook.md", "According to the runbook, restart it."),
        ("file:runbook.md", "The provided context lists three causes."),
        ("file:runbook.md", "As described in the manual: restart it."),
        ("file:runbook.md", "根据运维手册，重启服务。"),
        ("fewshot:2", "As in the previous example, add both."),
        ("fewshot:2", "Like the examples above: 1+2=3."),
        ("fewshot:2", "像上面的例子一样，1+2=3。"),
    ],
)
def test_an_answer_that_gives_away_a_text_or_examples_is_never_learned_from(context: str, response: str) -> None:
    assert kept(response, context) == 0
    assert kept(response, "none") == kept(response, "reference") == 1


@pytest.mark.parametrize("context", ["reference", "file:runbook.md", "fewshot:2"])
@pytest.mark.parametrize(
    "response",
    [
        "The correct answer is 3.",
        "We are given 2 apples. The answer is 3.",
        "The answer is given by 1+2=3.",
        "The final answer is shown below: 3",
        "In the solution we mix 1 ml and 2 ml.",
        "NullPointerException: object reference not set",
        "For example, 1+2=3. That is the first example.",
        "答案是 3。",
        "提示：磁盘已满。根据提示信息，重启服务。",
        "The solution is to grow the volume.",
        "Write the cause into the runbook.",
    ],
)
def test_usual_answers_give_nothing_away(response: str, context: str) -> None:
    assert kept(response, context) == 1


def test_workings_ignore_what_changes_nothing_and_tell_apart_what_does() -> None:
    assert math_working("She has 3 × 4 = 12 eggs.\n#### 12") == math_working("First, 3*4 = $12. So #### 12")
    assert math_working("3*4=12, 12-2=10") != math_working("4-1=3, 3*4=12")
    assert math_working("Twelve.") == math_working("**twelve**")
    assert text_working("Disk is FULL!") == text_working("disk is full")
    assert text_working("- a well-known disk: **sda**") == text_working("A well known disk, sda.")
    one = 'def f(n):\n    """Doc."""\n    total = n + 1\n    return total\n'
    two = "def f(number):\n    # add\n    result = number + 1\n    return result\n"
    assert program_working(one) == program_working(two)
    assert program_working(one) != program_working(two.replace("+ 1", "+ 2"))
    assert program_working("def f(:") == text_working("def f(:")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2 + 3", "2 - 3"),
        ("2 + 3", "2 \u2212 3"),
        ("The answer is -3.", "The answer is 3."),
        ("x + 5", "x - 5"),
        ("price * count", "price + count"),
        ("a < b", "a > b"),
        ("It rose by 5%.", "It rose by 5."),
        ("1.5 litres", "15 litres"),
        ("1.05 * 100 = 105", "1.5 * 100 = 150"),
        ("100 / 10 = 10", "10 / 10 = 1"),
        ("\\( 3 \\times 4 = 12 \\)", "\\( 48 \\div 4 = 12 \\)"),
        ("x + 5 = 12", "x - 5 = 12"),
        ("3 apples * 4 = 12", "48 apples / 4 = 12"),
        ("(2 + 3) * 4 = 20", "2 + (3 * 4) = 14"),
        ("Let x = 10 - 4. Then 6 * 2 = 12.", "Let x = 3 + 3. Then 6 * 2 = 12."),
        ("2^3 = 8", "2 * 4 = 8"),
    ],
)
def test_workings_that_differ_in_a_sign_are_different(one: str, other: str) -> None:
    for response in (one, other):
        assert math_working(response) == math_working(f"**{response}**\n")
    assert math_working(one) != math_working(other)
    assert text_working(one) != text_working(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 \u00d7 4 = 12", "3 x 4 = 12"),
        ("$48 / 4 = $12", "\\( \\frac{48}{4} = 12 \\)"),
        ("1,200 - 200 = 1,000", "- 1200 eggs - 200 eggs = 1000 eggs (in all)"),
        ("(12) * 4 = 48", "So (as said) 12 * 4 = 48"),
        ("2 + 3\n  = 5", "2 + 3 = 5"),
        ("$12.00 / 4 = $3.00", "12 / 4 = 3"),
        ("1.50 * 20 = 30.0", "1.5 * 20 = 30"),
        ("10.0% * 500 = 50", "10% * 500 = 50"),
    ],
)
def test_one_calculation_in_two_notations_is_one_working(one: str, other: str) -> None:
    assert math_working(one) == math_working(other)
