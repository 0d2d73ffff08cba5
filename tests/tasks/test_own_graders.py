"""The graders for the user's own data, and how failures of a grader in Python are handled."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.tasks.own import TASK, user_code
from l2s.tasks.own.choice import chosen_letter
from l2s.tasks.own.graders import GRADERS, STATUSES, equal_json
from l2s.tasks.table import grade_all
from l2s.tasks.types import Item
from support.descriptors import low_descriptors_taken


def item(reference: Any, grader: str = "none", **row: Any) -> Item:
    """An item whose reference is in the form that the grader takes."""
    kept = GRADERS[grader].reference(reference) if reference is not None else None
    messages: Any = [{"role": "user", "content": "?"}]
    return Item(
        id="a", domain="own", source="own", messages=messages, reference=kept, meta={"problem": "?", "row": row}
    )


def graded(grader: str, reference: Any, response: str, finish_reason: str = "stop") -> str | None:
    """The status of an answer; None if it has no grade."""
    found = TASK.grade(item(reference, grader), response, finish_reason, ExperimentConfig(own_grader=grader))
    if found is None:
        return None
    assert found.status in STATUSES
    assert found.score == (1.0 if found.status == "correct" else 0.0)
    return found.status


@pytest.mark.parametrize(
    ("grader", "reference", "response", "status"),
    [
        ("exact", "Paris", "Paris", "correct"),
        ("exact", "Paris", " \n Paris\n", "correct"),
        ("exact", "New  York", "New York", "correct"),
        ("exact", "Café", "Cafe\u0301", "correct"),  # composed and decomposed
        ("exact", "Paris", "paris", "wrong"),
        ("exact", "Paris", "Paris.", "wrong"),
        ("exact", "18", "18", "correct"),
        ("exact", "Paris", "<think>London?</think>Paris", "correct"),
        ("contains", "Paris", "It is Paris, of course.", "correct"),
        ("contains", "New York", "It is New\nYork.", "correct"),
        ("contains", "Paris", "It is London.", "wrong"),
        ("contains", "Paris", "<think>Paris?</think>It is London.", "wrong"),
        ("number", "18", "9 * 2 = 18, so the answer is 18.", "correct"),
        ("number", 18, "#### 18.0", "correct"),
        ("number", "1,234.50", "It costs $1234.5", "correct"),
        ("number", "-5", "The answer is \u22125", "correct"),
        ("number", "18", "It is 17.", "wrong"),
        ("number", 265252859812191058636308480000000, "265252859812191058636308480000000", "correct"),
        ("number", 265252859812191058636308480000000, "-265252859812191058636308480000000", "wrong"),
        ("number", 265252859812191058636308480000000, "265252859812191058636308480000001", "wrong"),
        ("number", "18", "I cannot say.", "no_answer"),
        ("json", '{"a": 1, "b": [2]}', '{"b": [2.0], "a": 1}', "correct"),
        ("json", {"a": 1}, 'Here it is:\n```json\n{"a": 1}\n```\nDone.', "correct"),
        ("json", {"a": 1}, '```\n{"a": 2}\n```\nNo:\n```json\n{"a": 1}\n```', "correct"),
        ("json", {"a": 1}, '{"a": true}', "wrong"),
        ("json", {"a": 1}, '```json\n{"a": 2}\n```\nCorrection:\n```json\n{"a": 1}', "correct"),
        ("json", {"a": 1}, 'Draft: ```json {"a": 2}```\n\n```json\n{"a": 1}\n```', "correct"),
        ("json", {"a": 1}, "The key `a` is 1.", "no_answer"),
        ("json", {"md": "```py x```", "t": "~~~"}, '```json\n{"md": "```py x```", "t": "~~~"}\n```', "correct"),
        ("json", {"a": 1}, '{"a": 1, "b": 2}', "wrong"),
        ("json", [1, 2], "[2, 1]", "wrong"),
        ("json", '"so"', '"so"', "correct"),
        ("json", "null", "null", "correct"),
        ("json", {"a": 1}, 'Here it is:\n{"a": 1}\nIt has one key.', "correct"),
        ("json", {"a": [{"b": 2}]}, 'So:\n\n{\n  "a": [\n    {"b": 2}\n  ]\n}\n\n[1] a source', "correct"),
        ("json", {"a": 1}, '{"a": 1}\nNo:\n{"a": 2}', "wrong"),
        ("json", {"a": 1}, '{\n  "b":\n  {"a": 1}\n', "no_answer"),  # a part of a broken one
        ("json", {"a": 1}, 'It is {"a": 1}', "correct"),
        ("json", {"a": 1}, "{'a': 1}", "no_answer"),
        ("json", {"a": 1}, '{"a": NaN}', "no_answer"),
        ("json", {"a": 1}, "[" * 100_000, "no_answer"),
        ("json", {"a": 1}, "[" * 900 + "]" * 900, "wrong"),
        ("choice", "B", "The answer is (B).", "correct"),
        ("choice", "b", "B", "correct"),
        ("choice", "B", "A", "wrong"),
        ("choice", "B", "I do not know.", "no_answer"),
        ("exact", "Paris", "", "no_answer"),
        ("exact", "Paris", "<think>Paris</think>", "no_answer"),
        ("contains", "Paris", "<think>Paris", "truncated"),
    ],
)
def test_an_answer_gets_the_status_that_its_grader_promises(
    grader: str, reference: Any, response: str, status: str
) -> None:
    assert graded(grader, reference, response) == status


@pytest.mark.parametrize(
    "form",
    [
        "```json\n#\n```", "```\n#\n```", "~~~json\n#\n~~~", "~~~\n#\n~~~", "~~~~json\n#\n~~~~", "````json\n#\n````",
        "```json\n#", "~~~json\n#\n", "```json\n#```", "Answer: ```json\n#\n```", "```json title=\"x\"\n#\n```",
        "```json:out.json\n#\n```", "```{json}\n#\n```", "```json {.x}\n#\n```", "```json\r\n#\r\n```\r\n",
        "```json\r#\r```", "> ```json\n> #\n> ```", "1. It is:\n   ```json\n   #\n   ```", "- ```json\n  #\n  ```",
        "```json #```", "```#```", "``` # ```", "It is ```json #```.", "~~~json #~~~", "答案如下：```json\n#\n```",
        "```markdown\n```json\n#\n```\n```", "Sure:\n```json\n#\n``` \nDone.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("written", ['{"a": 1, "b": [2, null, true]}', '[{"t": "x  y"}]', '"so"', "-1.5"])
def test_json_is_read_from_a_fence_in_any_form(form: str, written: str) -> None:
    assert graded("json", written, form.replace("#", written)) == "correct"
    assert graded("json", '{"other": 0}', form.replace("#", written)) == "wrong"


@pytest.mark.parametrize("unit", ["`", "~", "```", "``` ", "```json {", "\n```", "```a"])
def test_an_answer_of_fences_is_read_in_time(unit: str) -> None:
    start = time.monotonic()
    assert graded("json", {"a": 1}, unit * (10_000 // len(unit)) + "x`") == "no_answer"
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("grader", ["exact", "contains", "number", "json", "choice"])
def test_an_answer_that_was_cut_is_truncated_whatever_it_says(grader: str) -> None:
    reference = {"choice": "A"}.get(grader, "1")
    assert graded(grader, reference, reference, "stop") == "correct"
    assert graded(grader, reference, reference, "length") == "truncated"


def test_nothing_is_graded_without_a_grader_or_a_reference() -> None:
    assert graded("none", "Paris", "Paris") is None
    assert graded("none", None, "Paris", "length") is None
    assert graded("exact", None, "Paris") is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"), ("b", "B"), ("(c)", "C"), ("**D**", "D"), ("E.", "E"), ("B. Paris", "B"), ("B) Paris", "B"),
        ("(B) Paris", "B"), ("The answer is B.", "B"), ("The correct answer is: **(B)** Paris", "B"),
        ("Answer: C", "C"), ("answer: c", "C"), ("ANSWER: A\n", "A"), ("The correct option is D", "D"),
        ("I choose option A.", "A"), ("Option B is correct.", "B"), ("$\\boxed{C}$", "C"), ("\\boxed{\\text{D}}", "D"),
        ("答案：B", "B"), ("答案是C。", "C"), ("因此选B。", "B"), ("故选 D", "D"), ("正确答案为（A）", "A"),
        ("Ｂ", "B"),
        ("A is tempting. The answer is B.", "B"), ("The answer is A. Wait, no. The answer is D.", "D"),
        ("Paris is the capital of France, so (B) it is.", "B"), ("Reasoning...\n\nC", "C"),
        ("A. no\nB. no\nC. yes\nThe answer is C", "C"), ("A. wrong because\nB. right because", None),
        ("A good question. I cannot say.", None), ("The answer is a good one.", None), ("Answer: Both", None),
        ("Answer: A or B", None), ("A, B", None), ("The answer is A and C.", None), ("答案是A和B", None),
        ("F", None), ("", None), ("Bob said so.", None), ("The answer is not B.", None), ("(A) or (B)", None),
    ],
)  # fmt: skip
def test_a_choice_is_the_letter_that_the_answer_settles_on(text: str, letter: str | None) -> None:
    assert chosen_letter(text) == letter


def test_json_values_are_compared_by_kind_and_value() -> None:
    assert equal_json({"a": [1, {"b": None}]}, {"a": [1.0, {"b": None}]})
    assert not equal_json(True, 1)
    assert not equal_json(0, False)
    assert not equal_json("1", 1)
    assert not equal_json([1], [1, 1])
    assert not equal_json({"a": 1}, {"b": 1})


# A grader of the user's own ------------------------------------------------------------------------------------------


def python_grader(folder: Path, body: str, function: str = "grade", **fields: Any) -> ExperimentConfig:
    (folder / "my_grader.py").write_text(body)
    return ExperimentConfig(own_grader=f"python:{folder / 'my_grader.py'}:{function}", **fields)


def test_a_function_of_the_users_own_gives_scores(tmp_path: Path) -> None:
    config = python_grader(
        tmp_path,
        "import helper\nprint('loading')\n"
        "def grade(response, reference, row):\n"
        "    print('noise on stdout')\n"
        "    return helper.share(response, row['keywords'])\n",
    )
    (tmp_path / "helper.py").write_text(
        "def share(text, words):\n    return sum(w in text for w in words) / len(words)\n"
    )
    asked = item(None, keywords=["red", "green"])
    answers = [
        (asked, "red and green", "stop"),
        (asked, "red", "stop"),
        (asked, "blue", "stop"),
        (asked, "red", "length"),
    ]
    grades = grade_all(answers, config)
    assert [(grade.score, grade.status) for grade in grades if grade] == [
        (1.0, "correct"), (0.5, "partial"), (0.0, "wrong"), (0.0, "truncated"),
    ]  # fmt: skip


def test_the_row_is_the_users_with_id_domain_messages_and_reference(tmp_path: Path) -> None:
    config = python_grader(
        tmp_path, "def grade(response, reference, row):\n    raise ValueError(sorted(row.items()))\n"
    )
    process = user_code._process(tmp_path / "my_grader.py", "grade")
    with pytest.raises(user_code.GraderError) as caught:
        process.call(user_code._request("yes", item("gold", level=3)), config.own_timeout_s)
    assert str(caught.value) == (
        "it raised ValueError: [('domain', 'own'), ('id', 'a'), ('level', 3), "
        "('messages', [{'role': 'user', 'content': '?'}]), ('reference', 'gold')]"
    )


@pytest.mark.parametrize(
    ("returned", "score", "status"),
    [
        ("True", 1.0, "correct"), ("False", 0.0, "wrong"), ("1", 1.0, "correct"), ("0.25", 0.25, "partial"),
        ("__import__('numpy').float32(0.5)", 0.5, "partial"), ("'yes'", 0.0, "grader_invalid"),
        ("None", 0.0, "grader_invalid"), ("1.5", 0.0, "grader_invalid"), ("-1", 0.0, "grader_invalid"),
        ("float('nan')", 0.0, "grader_invalid"), ("[1]", 0.0, "grader_invalid"), ("grade", 0.0, "grader_invalid"),
        ("1 / 0", 0.0, "grader_raised"), ("exit()", 0.0, "grader_raised"), ("os._exit(3)", 0.0, "grader_raised"),
        ("os.kill(os.getpid(), 9)", 0.0, "grader_raised"), ("recurse()", 0.0, "grader_raised"),
    ],
)  # fmt: skip
def test_what_a_function_returns_or_fails_with_is_a_status_of_its_own(
    tmp_path: Path, returned: str, score: float, status: str
) -> None:
    body = f"import os\ndef recurse(): return recurse()\ndef grade(response, reference):\n    return {returned}\n"
    config = python_grader(tmp_path, body)
    grade = TASK.grade(item("gold"), "answer", "stop", config)
    assert grade is not None
    assert (grade.score, grade.status) == (score, status)


def test_a_slow_function_is_stopped_and_the_next_answer_is_graded(tmp_path: Path) -> None:
    body = (
        "import time\ndef grade(response, reference):\n    time.sleep(600 if response == 'slow' else 0)\n    return 1\n"
    )
    config = python_grader(tmp_path, body, own_timeout_s=0.5)
    start = time.monotonic()
    grades = grade_all([(item("gold"), answer, "stop") for answer in ("slow", "fast")], config)
    assert [grade.status for grade in grades if grade] == ["grader_timeout", "correct"]
    assert time.monotonic() - start < 300


def test_a_grader_works_where_a_thousand_files_are_open(tmp_path: Path) -> None:
    config = python_grader(tmp_path, "def grade(response, reference): return response == reference\n")
    with low_descriptors_taken():
        grades = grade_all([(item("gold"), answer, "stop") for answer in ("gold", "lead")], config)
    assert [grade.status for grade in grades if grade] == ["correct", "wrong"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "there is no file"),
        ("def other(): pass", "the file defines no function grade"),
        ("grade = 3", "the file defines no function grade"),
        ("import no_such_package", "loading it raised ModuleNotFoundError: No module named 'no_such_package'"),
        ("def grade(:", "loading it raised SyntaxError"),
        ("raise SystemExit(3)", "loading it raised SystemExit"),
        ("def grade(): return 1", "it raised TypeError"),
        ("def grade(response, reference): return 'good'", "it returned 'good', not a number from 0 to 1"),
        ("def grade(response, reference): raise KeyError('x')", "it raised KeyError: 'x'"),
        ("import os; os._exit(1)", "loading it ended its process (status 1)"),
        ("def grade(response, reference):\n    while True: pass", "a call took longer than 0.5 s"),
    ],
)
def test_a_grader_that_cannot_work_is_refused_before_anything_is_loaded(
    tmp_path: Path, body: str | None, words: str
) -> None:
    config = python_grader(tmp_path, body or "", own_timeout_s=0.5)
    if body is None:
        (tmp_path / "my_grader.py").unlink()
    with pytest.raises(UserError) as caught:
        user_code.check(config, item("gold"))
    message = str(caught.value)
    assert message.startswith(f"own_grader={config.own_grader!r}: ")
    assert words in message


@pytest.mark.parametrize(
    "spec",
    ["", "rouge", "python:", "python:grader.py", "python:grader.py:", "python:grader:f", "python:g.py:a b", "Exact"],
)
def test_an_unknown_grader_is_refused_with_those_there_are(spec: str) -> None:
    with pytest.raises(UserError, match=r"own_grader=.*must be one of exact, contains, number, json, choice, none, or"):
        TASK.metric(ExperimentConfig(own_grader=spec))
