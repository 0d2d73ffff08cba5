"""Rows of the user's own files: what is read, and what is refused with file, line, field, value and fix."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import dump_row
from l2s.tasks.own import TASK
from l2s.tasks.table import TASKS
from l2s.tasks.types import Item

GOOD = {"prompt": "Capital of France?", "reference": "Paris"}


def written(folder: Path, *rows: Any, name: str = "train.jsonl") -> Path:
    """A JSONL file; a row that is text or bytes becomes a line unchanged."""
    lines = [
        row if isinstance(row, bytes) else (row if isinstance(row, str) else json.dumps(row)).encode() for row in rows
    ]
    path = folder / name
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def own(folder: Path, *rows: Any, **fields: Any) -> ExperimentConfig:
    """A configuration whose training file has these rows and whose evaluation file has one good row."""
    evaluation = written(folder, {"prompt": "Capital of Peru?", "reference": "Lima"}, name="eval.jsonl")
    settings = {"own_grader": "exact", "train_file": written(folder, *rows), "eval_file": evaluation}
    return ExperimentConfig(**(settings | fields))


def items(folder: Path, *rows: Any, **fields: Any) -> list[Item]:
    return list(TASK.train_items(own(folder, *rows, **fields)))


def refusal(folder: Path, *rows: Any, **fields: Any) -> str:
    with pytest.raises(UserError) as caught:
        TASK.check(own(folder, *rows, **fields), TASKS)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_prompt_and_a_chat_become_items(tmp_path: Path) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Capital of France?"},
    ]
    first, second = items(
        tmp_path, GOOD, {"messages": chat, "reference": "Paris", "id": "geo/1", "domain": "geography"}
    )
    assert first == {
        "id": "own-train-00000", "domain": "own", "source": "own", "reference": "Paris",
        "messages": [{"role": "user", "content": "Capital of France?"}],
        "meta": {"problem": "Capital of France?", "row": {}},
    }  # fmt: skip
    assert (second["id"], second["domain"], second["messages"]) == ("geo/1", "geography", chat)
    assert second["meta"]["problem"] == "Capital of France?"


@pytest.mark.parametrize(
    "write",
    [
        lambda row: b"\xef\xbb\xbf" + row,  # byte order mark
        lambda row: row + b"\r",  # Windows
        lambda row: b"\n\n" + row + b"\n   ",  # blank lines
    ],
    ids=["bom", "crlf", "blank lines"],
)
def test_files_of_other_editors_are_read(tmp_path: Path, write: Callable[[bytes], bytes]) -> None:
    (item,) = items(tmp_path, write(json.dumps({"prompt": "Wie heißt 法国 …\u2028?", "reference": "é"}).encode()))
    assert (item["messages"][0]["content"], item["reference"]) == ("Wie heißt 法国 …\u2028?", "é")


def test_a_parquet_file_is_read_as_the_same_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "data.parquet"
    turns = [{"role": "user", "content": "Capital of France?"}]
    rows = [
        {"messages": turns, "reference": "Paris", "id": 7, "when": datetime.date(2026, 1, 2), "cost": float("nan")},
        {"messages": turns, "reference": "Paris", "id": None, "when": None, "cost": 1.5},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    first, second = items(tmp_path, GOOD, train_file=path)
    assert (first["id"], second["id"]) == ("7", "own-train-00001")
    assert first["messages"] == turns
    assert first["meta"]["row"] == {"when": "2026-01-02", "cost": "nan"}
    dump_row(first)  # JSON can represent it


def test_parquet_without_the_needed_columns_or_not_parquet_at_all_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "data.parquet"
    pq.write_table(pa.Table.from_pylist([{"question": "?", "answer": "!"}]), path)
    assert "has the columns question, answer; it needs a column `messages` or `prompt`" in refusal(
        tmp_path, GOOD, train_file=path
    )
    path.write_bytes(b"PAR1 and nothing else")
    assert "cannot be read as parquet" in refusal(tmp_path, GOOD, train_file=path)
    pq.write_table(pa.Table.from_pylist([{"prompt": "a"}, {"prompt": None}]), path)
    assert "data.parquet', row 2: has neither" in refusal(tmp_path, GOOD, train_file=path, own_grader="none")


def test_a_value_of_parquet_that_python_does_not_have_is_an_error_of_one_line(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "data.parquet"
    days = pa.array([0, 10**7], pa.date32())  # the second is in the year 29349
    pq.write_table(pa.table({"prompt": ["a", "b"], "reference": ["c", "d"], "when": days}), path)
    message = refusal(tmp_path, GOOD, train_file=path)
    assert message.startswith(f"train_file='{path}': a value does not exist in Python (")
    assert "leave that column out" in message


@pytest.mark.parametrize("parquet", [False, True], ids=["jsonl", "parquet"])
def test_turns_may_be_the_text_of_a_list(tmp_path: Path, parquet: bool) -> None:
    turns = [turn("system", "Be brief."), turn("user", 'é \\u00e9 "x"')]
    rows = [{"messages": json.dumps(turns, ensure_ascii=ascii_only), "reference": "c"} for ascii_only in (True, False)]
    path = tmp_path / "data.parquet"
    if parquet:
        pytest.importorskip("pyarrow.parquet").write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = ExperimentConfig(train_file=path, eval_file=path, own_grader="exact")
    assert [item["messages"] for item in TASK.eval_items(config)] == [turns, turns]


def turn(role: Any, content: Any = "text") -> dict[str, Any]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{'prompt': 1}", "not valid JSON"),
        ('{"prompt": "a"', "not valid JSON"),
        ('["a"]', "expected a JSON object, found list"),
        ("[", "); write one object a line, not an array"),
        ('{"prompt": "a", "reference": ' + "9" * 5000 + "}", "not valid JSON (Exceeds the limit"),
        ('{"prompt": "a", "reference": ' + "[" * 950 + "]" * 950 + "}", "nested too deeply"),
        ('"a"', "expected a JSON object, found str 'a'"),
        ('{"prompt": "a", "reference": NaN}', "NaN is not a JSON value"),
        ('{"prompt": "a", "reference": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
        (b'{"prompt": "a\x00b"}', "holds a NUL byte"),
        ({}, "has neither `messages` nor `prompt` (the object is empty)"),
        ({"question": "a", "answer": "b"}, "its fields are question, answer"),
        ({"prompt": None, "reference": "b"}, "prompt: is null; write the question"),
        ({"prompt": "a", "messages": [turn("user")]}, "both `messages` and `prompt`"),
        ({"prompt": ""}, "prompt='': is empty"),
        ({"prompt": " \n"}, "is empty"),
        ({"prompt": 12}, "prompt=12: expected text, found int"),
        ({"prompt": [turn("user")]}, "expected text, found list; a list of turns is `messages`"),
        ({"prompt": "a\u0000b"}, r"prompt='a\x00b': holds a NUL character; remove it"),
        ('{"prompt": "a\\ud800b"}', "half of a surrogate pair"),
        ({"prompt": "x" * 1_000_001}, "has 1,000,001 characters, at most 1,000,000"),
        ({"messages": []}, "messages=[]: expected a list of turns"),
        ({"messages": "Hi"}, "messages='Hi': expected a list of turns"),
        ({"messages": '{"role": "user"}'}, "expected a list of turns"),
        ({"messages": "[]"}, "messages=[]: expected a list of turns"),
        ({"messages": "[{'role': 'user', 'content': 'a'}]"}, "or that list as JSON text (Expecting property name"),
        ({"messages": '[{"role": "user", "content": "a"}'}, "as JSON text (Expecting ',' delimiter, column 34)"),
        ({"messages": '[{"role": "user"}]'}, "messages[0].content=None: expected text"),
        ({"messages": '["a"]'}, "messages[0]='a': expected an object with `role` and `content`"),
        ({"messages": ["Hi"]}, "messages[0]='Hi': expected an object with `role` and `content`"),
        ({"messages": [turn("human")]}, "messages[0].role='human': must be one of system, user, assistant"),
        ({"messages": [turn(None)]}, "messages[0].role=None"),
        ({"messages": [turn(["user"])]}, "messages[0].role=['user']"),
        ({"messages": [turn("user"), turn("tool"), turn("user")]}, "messages[1].role='tool'"),
        ({"messages": [turn("user", [{"type": "text", "text": "a"}])]}, "messages[0].content=[{'type'"),
        ({"messages": [turn("user", None)]}, "messages[0].content=None: expected text"),
        ({"messages": [turn("user", "")]}, "messages[0].content='': is empty"),
        ({"messages": [turn("user"), turn("assistant")]}, "role='assistant': the last turn must be the user's"),
        ({"messages": [turn("system")]}, "messages[0].role='system': the last turn must be the user's"),
        ({"messages": [turn("user"), turn("system"), turn("user")]}, "only the first turn may be the system's"),
        ({"messages": [turn("user"), turn("user")]}, "messages[1].role='user': user and assistant must take turns"),
        ({"messages": [turn("assistant"), turn("user")]}, "messages[0].role='assistant': user and assistant must"),
        ({"messages": [turn("user") | {"tool_calls": [1]}]}, "messages[0].tool_calls: calls of tools"),
        (GOOD | {"id": 1.5}, "id=1.5: expected text or a whole number"),
        (GOOD | {"id": True}, "id=True: expected text or a whole number"),
        (GOOD | {"id": "a\nb"}, r"id='a\nb': use at most 200 printable"),
        (GOOD | {"id": "x" * 201}, "use at most 200 printable characters"),
        (GOOD | {"id": "a"}, "id='a': also at line 1; give every row its own id"),
        (GOOD | {"domain": "math"}, "domain='math': is the name of a domain of this project"),
        (GOOD | {"domain": "AIOps"}, "domain='AIOps': is the name of a domain"),
        (GOOD | {"domain": "all"}, "domain='all': is the name of a domain"),
        (GOOD | {"domain": "../x"}, "domain='../x': use at most 40 letters"),
        (GOOD | {"domain": 3}, "domain=3: use at most 40 letters"),
        ({"prompt": "a"}, "reference: is missing, and own_grader='exact' needs one; add it, or set --own_grader none"),
        ({"prompt": "a", "reference": None}, "reference: is missing"),
        ({"prompt": "a", "reference": ""}, "reference: is missing"),
        ({"prompt": "a", "reference": "  "}, "reference='  ': is blank"),
        ({"prompt": "a", "reference": ["Paris"]}, "reference=['Paris']: expected text, found list"),
        ({"prompt": "a", "reference": True}, "reference=True: expected text, found bool"),
        ({"prompt": "a", "reference": "\u0000"}, "holds a NUL character"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else None,
)  # fmt: skip
def test_a_bad_row_is_named_with_its_line_field_value_and_fix(tmp_path: Path, row: Any, words: str) -> None:
    message = refusal(tmp_path, GOOD | {"id": "a"}, row)
    assert message.startswith(f"train_file='{tmp_path}/train.jsonl', line 2")
    assert words in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("grader", "reference", "words"),
    [
        ("number", "eighteen", "reference='eighteen': own_grader='number' needs a number"),
        ("number", False, "needs a number"),
        ("json", "{'a': 1}", "own_grader='json' needs JSON"),
        ("json", "Paris", "needs JSON"),
        ("choice", "F", "needs a letter from A to E"),
        ("choice", 2, "needs a letter from A to E"),
        ("choice", "A, B", "needs a letter from A to E"),
    ],
)
def test_a_reference_that_a_grader_cannot_use_is_named(tmp_path: Path, grader: str, reference: Any, words: str) -> None:
    good = {"number": 1, "json": "[]", "choice": "A"}[grader]
    evaluation = written(tmp_path, {"prompt": "a", "reference": good}, name="good.jsonl")
    message = refusal(
        tmp_path, {"prompt": "a", "reference": good}, {"prompt": "a", "reference": reference},
        own_grader=grader, eval_file=evaluation,
    )  # fmt: skip
    assert "line 2: reference=" in message
    assert words in message


@pytest.mark.parametrize(
    ("grader", "reference", "kept"),
    [
        ("exact", 18, "18"), ("contains", 1.5, "1.5"), ("number", "#### 1,234", "#### 1,234"), ("number", 18, "18"),
        ("json", {"a": [1]}, '{"a": [1]}'), ("json", "null", "null"), ("choice", "(b)", "B"),
        ("none", {"x": 1}, {"x": 1}), ("none", None, None),
    ],
)  # fmt: skip
def test_references_are_kept_in_the_form_of_the_grader(tmp_path: Path, grader: str, reference: Any, kept: Any) -> None:
    (item,) = items(tmp_path, {"prompt": "a", "reference": reference}, own_grader=grader)
    assert item["reference"] == kept


@pytest.mark.parametrize(
    ("reference", "solution"),
    [("Paris", "Paris"), (18, "18"), ({"a": "é"}, '{"a": "é"}'), (False, "false"), (None, None)],
)
def test_a_reference_can_be_trained_on_as_text(tmp_path: Path, reference: Any, solution: str | None) -> None:
    (item,) = items(tmp_path, {"prompt": "a", "reference": reference}, own_grader="none")
    assert TASK.solution(item) == solution


def test_training_rows_may_all_lack_a_reference_and_evaluation_rows_may_not(tmp_path: Path) -> None:
    unlabelled = [{"prompt": "a"}, {"prompt": "b"}]
    TASK.check(own(tmp_path, *unlabelled), TASKS)
    evaluation = written(tmp_path, *unlabelled, name="bare.jsonl")
    message = refusal(tmp_path, GOOD, eval_file=evaluation)
    assert message.startswith(f"eval_file='{evaluation}', line 1: reference: is missing")
    message = refusal(tmp_path, *unlabelled, keep_correct=True)
    assert message.startswith("keep_correct=True")
    assert "set --keep_correct false, or give references" in message  # it may be a preset that has set it


def test_a_system_prompt_goes_before_every_prompt_and_never_beside_another(tmp_path: Path) -> None:
    (item,) = items(tmp_path, GOOD, system_prompt="Be brief.")
    assert [message["role"] for message in item["messages"]] == ["system", "user"]
    assert item["meta"]["problem"] == GOOD["prompt"]
    messages = [turn("system"), turn("user")]
    message = refusal(tmp_path, GOOD, {"messages": messages, "reference": "a"}, system_prompt="Be brief.")
    assert "line 2: messages: has a system message, and --system_prompt gives another; remove one of the two" in message


def test_a_system_prompt_that_says_nothing_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD, system_prompt="  ")
    assert message.startswith("system_prompt='  ': is empty")


def test_ids_are_counted_before_rows_and_may_hold_paths(tmp_path: Path) -> None:
    ids = [item["id"] for item in items(tmp_path, GOOD | {"id": "../../etc/passwd"}, GOOD | {"id": 7}, GOOD)]
    assert ids == ["../../etc/passwd", "7", "own-train-00002"]
    assert "id='7': also at line 1" in refusal(tmp_path, GOOD | {"id": 7}, GOOD | {"id": "7"})
    assert "id='own-train-00001': also at line 1" in refusal(tmp_path, GOOD | {"id": "own-train-00001"}, GOOD)


def test_more_domains_than_a_report_can_show_are_refused(tmp_path: Path) -> None:
    rows = [GOOD | {"domain": f"d{number}"} for number in range(21)]
    assert "its rows name 21 domains" in refusal(tmp_path, *rows)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "holds no row"), (b"\n \n", "holds no row"), (b"\xef\xbb\xbf", "holds no row"), (None, "no such file")],
)
def test_an_empty_or_missing_file_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "other.jsonl"
    if content is not None:
        path.write_bytes(content)
    message = refusal(tmp_path, GOOD, train_file=path)
    assert message.startswith(f"train_file='{path}'")
    assert words in message


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path, GOOD, train_file=Path("x" * 300))


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert "is a folder; give the JSONL or parquet file in it" in refusal(tmp_path, GOOD, train_file=tmp_path)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    config = own(tmp_path, GOOD)
    assert len(TASK.train_items(config)) == 1
    written(tmp_path, GOOD, GOOD)
    assert len(TASK.train_items(config)) == 2


def test_values_of_other_types_reach_a_python_grader_as_json(tmp_path: Path) -> None:
    (item,) = items(tmp_path, GOOD | {"level": 3, "tags": ["a"], "note": None})
    assert item["meta"]["row"] == {"level": 3, "tags": ["a"]}
