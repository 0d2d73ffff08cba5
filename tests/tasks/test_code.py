"""HumanEval and MBPP: every reference passes, other answers get the right verdict, and the data is as requested."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from l2s import sandbox
from l2s.config import ExperimentConfig, resolve_config
from l2s.errors import UserError
from l2s.tasks import code
from l2s.tasks.types import Grade, Item

Config = Callable[..., ExperimentConfig]
HUMANEVAL = code.eval_items(resolve_config({"code_eval_size": 164}))
PROBLEM: dict[str, Any] = HUMANEVAL[0]["meta"]["row"]  # has_close_elements

MBPP_ROW = {
    "task_id": 601,
    "text": "Write a function to add the sides of a rectangle.",
    "code": "import math\r\nclass Side:\r\n  def __init__(self, n): self.n = n\r\n"
    "def around(a, b):\r\n  return 2 * (a.n + b.n)",
    "test_list": ["assert around(Side(1), Side(2)) == math.floor(6.5)", "assert around(unit, unit) == 4"],
    "test_setup_code": "unit = Side(0)\r\nunit.n = 1",
    "challenge_test_list": ["assert around(Side(0), Side(0)) == 0"],
}


pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")  # in references of MBPP


@pytest.fixture(scope="module", autouse=True)
def _needs_a_sandbox() -> None:
    try:
        sandbox.check()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder with six MBPP problems, one of them outside the training split."""
    rows = [MBPP_ROW | {"task_id": number} for number in (600, 605, 603, 604, 602, 601)]
    (tmp_path / "mbpp").mkdir()
    (tmp_path / "mbpp" / "mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


# References ----------------------------------------------------------------------------------------------------------


def grade_all(problems: list[dict[str, Any]], answer: Callable[[dict[str, Any]], str]) -> dict[Any, Grade]:
    """The grades that are not 1, by task id; 64 at a time."""
    with ThreadPoolExecutor(64) as pool:
        grades = pool.map(lambda problem: code.grade(problem, answer(problem)), problems)
        return {problem["task_id"]: g for problem, g in zip(problems, grades, strict=True) if g.score != 1}


def test_all_164_canonical_solutions_pass_as_programs() -> None:
    problems = [item["meta"]["row"] for item in HUMANEVAL]
    assert len(problems) == 164
    full = "Here:\n```python\n{prompt}{canonical_solution}```\nDone."
    assert grade_all(problems, lambda problem: full.format(**problem)) == {}


def test_all_164_canonical_solutions_pass_as_bodies() -> None:
    problems = [item["meta"]["row"] for item in HUMANEVAL]
    assert grade_all(problems, lambda problem: str(problem["canonical_solution"])) == {}


def test_all_374_mbpp_references_pass() -> None:
    folder = os.environ.get("L2S_TEST_DATA")
    if folder is None:
        pytest.skip("L2S_TEST_DATA is not set; it names a folder with mbpp/mbpp.jsonl")
    items = code.train_items(resolve_config({"data_dir": folder, "code_train_size": 374}))
    problems = [item["meta"]["row"] for item in items]
    assert grade_all(problems, lambda problem: f"```python\n{problem['code']}\n```") == {}


# Verdicts ------------------------------------------------------------------------------------------------------------


def answer(body: str) -> str:
    return f"```python\ndef has_close_elements(numbers, threshold):\n    {body}\n```"


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (answer("return False"), "wrong"),
        (answer("return self"), "raised"),
        (answer("return"), "wrong"),
        (answer("return return"), "syntax_error"),
        (answer("import os; os._exit(0)"), "crashed"),
        (answer("while True: pass"), "timeout"),
        (answer("return 'x' * (1 << 40)"), "resource_limit"),
        ("```python\ndef other():\n    return 1\n```", "undefined"),
        ("I do not know.", "no_answer"),
        ("", "no_answer"),
        ("<think>Let me see", "truncated"),
        (f"<think>{answer('return True')}", "truncated"),
    ],
)
def test_each_failure_has_its_own_status(response: str, status: str) -> None:
    grade = code.grade(PROBLEM, response, timeout_s=1)
    assert (grade.status, grade.score) == (status, 0)
    assert status in code.STATUSES


def test_an_answer_that_was_cut_is_truncated_unless_it_passes() -> None:
    whole = f"```python\n{HUMANEVAL[0]['reference']}"
    assert code.grade(PROBLEM, whole, finish_reason="length").status == "correct"
    again = f"{whole}\n```\nOr:\n```python\n{HUMANEVAL[0]['meta']['problem']}    result = []\n    if"
    assert code.grade(PROBLEM, again, finish_reason="length").status == "correct"
    assert code.grade(PROBLEM, answer("return False"), finish_reason="length").status == "truncated"
    assert code.grade(PROBLEM, "First, I think", finish_reason="length").status == "truncated"


def test_thinking_is_not_part_of_the_answer() -> None:
    thought = f"<think>{answer('return False')}</think>\n```python\n{HUMANEVAL[0]['reference']}\n```"
    assert code.grade(PROBLEM, thought).score == 1


def test_the_program_and_the_reason_are_kept() -> None:
    grade = code.grade(PROBLEM, answer("return False"))
    assert grade.extracted is not None
    assert "return False" in grade.extracted
    assert "AssertionError" in grade.details["reason"]


def test_a_solution_that_the_tests_compare_with_itself_is_compared_with_the_reference() -> None:
    problem = next(item["meta"]["row"] for item in HUMANEVAL if item["id"] == "humaneval-33")
    assert code.grade(problem, "```python\ndef sort_third(l):\n    return l\n```").status == "wrong"


def test_mbpp_asserts_may_use_classes_modules_and_prepared_objects() -> None:
    program = "class Side:\n  def __init__(self, n): self.n = n\ndef around(a, b): return a.n * 2 + b.n * 2"
    assert code.grade(MBPP_ROW, f"```python\n{program}\n```").status == "correct"
    assert code.grade(MBPP_ROW, "```python\ndef around(a, b): return 6\n```").status == "undefined"


def test_a_problem_whose_tests_call_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="mbpp-601: its tests call nothing"):
        code.grade(MBPP_ROW | {"test_list": ["assert True"], "test_setup_code": "", "challenge_test_list": []}, "x = 1")


# Data ----------------------------------------------------------------------------------------------------------------


def ids(items: list[Item]) -> list[str]:
    return [item["id"] for item in items]


def test_evaluation_items_are_chosen_by_the_seed(tiny_config: Config) -> None:
    first = code.eval_items(tiny_config(seed=1))
    assert len(first) == 50
    assert len(set(ids(first))) == 50
    assert first == code.eval_items(tiny_config(seed=1))
    assert ids(first) != ids(code.eval_items(tiny_config(seed=2)))
    assert code.eval_items(tiny_config(code_eval_size=0)) == []


def test_an_item_grades_its_own_reference(tiny_config: Config, data_dir: Path) -> None:
    config = tiny_config(data_dir=data_dir, code_train_size=1, code_eval_size=1)
    for item in (*code.eval_items(config), *code.train_items(config)):
        assert item["domain"] == "code"
        assert code.grade_item(item, f"```python\n{item['reference']}\n```").score == 1


def test_mbpp_trains_on_its_training_split_and_names_the_function(tiny_config: Config, data_dir: Path) -> None:
    items = code.train_items(tiny_config(data_dir=data_dir, code_train_size=5))
    assert sorted(ids(items)) == [f"mbpp-{number}" for number in range(601, 606)]
    assert "assert around(Side(1), Side(2))" in items[0]["messages"][0]["content"]
    assert items == code.train_items(tiny_config(data_dir=data_dir, code_train_size=5))


@pytest.mark.parametrize("task_id", [601, "601", "MBPP/601", "mbpp-601"])
def test_the_sanitized_set_and_text_for_task_ids_are_read(
    tiny_config: Config, data_dir: Path, task_id: int | str
) -> None:
    sanitized = {
        "source_file": "Benchmark Questions Verification V2.ipynb",
        "task_id": task_id,
        "prompt": "Write a function to add one to the floor.",
        "code": "import math\ndef add(a):\n    return math.floor(a) + 1",
        "test_imports": ["import math as m"],
        "test_list": ["assert add(1.5) == m.floor(2.5)"],
    }
    (data_dir / "mbpp" / "mbpp.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(sanitized).encode() + b"\r\n")
    (item,) = code.train_items(tiny_config(data_dir=data_dir, code_train_size=1))
    assert item["id"] == "mbpp-601"
    assert item["meta"]["problem"] == sanitized["prompt"]
    assert item["messages"][0]["content"].startswith("Write a function to add one to the floor.")
    assert code.grade_item(item, f"```python\n{item['reference']}\n```").status == "correct"
    assert code.grade_item(item, "```python\ndef add(a):\n    return a\n```").status == "wrong"


def test_humaneval_training_overlaps_the_evaluation_as_late_as_it_can(tiny_config: Config) -> None:
    evaluated = set(ids(code.eval_items(tiny_config())))
    small = code.train_items(tiny_config(code_train_source="humaneval", code_train_size=114))
    assert evaluated & set(ids(small)) == set()
    whole = code.train_items(tiny_config(code_train_source="humaneval"))
    assert len(set(ids(whole))) == 164
    assert evaluated <= set(ids(whole))


def test_too_many_items_are_refused(tiny_config: Config, data_dir: Path) -> None:
    with pytest.raises(UserError, match="code_train_size=6: mbpp has 5 problems"):
        code.train_items(tiny_config(data_dir=data_dir, code_train_size=6))


def broken_line(file: Path) -> None:
    file.write_text(json.dumps(MBPP_ROW) + "\n" + "{not json\n")


def row_without(field: str, **others: Any) -> Callable[[Path], None]:
    """Damage to a file: a whole row, an empty line, and a row without `field`."""
    row = {name: value for name, value in MBPP_ROW.items() if name != field} | others
    text = f"{json.dumps(MBPP_ROW)}\n\n{json.dumps(row)}\n"

    def damage(file: Path) -> None:
        file.write_text(text)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "there is no .*mbpp.jsonl; put MBPP there, or leave --data_dir"),
        (lambda file: file.write_text(""), "the file is empty"),
        (broken_line, "line 2: not valid JSON"),
        (row_without("task_id"), "mbpp.jsonl, line 3: the row has no field 'task_id'"),
        (row_without("text"), "mbpp.jsonl, line 3: the row has no field 'text'"),
        (row_without("code"), "mbpp.jsonl, line 3: the row has no field 'code'"),
        (row_without("test_list"), "mbpp.jsonl, line 3: the row has no field 'test_list'"),
        (row_without("", test_list="assert True"), "line 3: the field 'test_list' is 'assert True', expected a list"),
        (row_without("", test_list=[]), "line 3: the field 'test_list' must hold at least one assert"),
        (row_without("", task_id="first"), "line 3: the field 'task_id' is 'first'; it needs a number"),
        (row_without("", code=None), "line 3: the field 'code' is None, expected text"),
    ],
)
def test_a_damaged_source_is_named(
    tiny_config: Config, data_dir: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(data_dir / "mbpp" / "mbpp.jsonl")
    with pytest.raises(UserError, match=f"data_dir=.*{message}"):
        code.train_items(tiny_config(data_dir=data_dir))


def test_without_folder_and_hub_both_ways_out_are_named(tiny_config: Config) -> None:
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE.*network.* or set --data_dir .*mbpp/mbpp.jsonl"):
        code.train_items(tiny_config())
