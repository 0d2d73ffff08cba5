"""Files of the user's own data that are no rows, rows that cannot be used, and odd ones that can."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.tasks.own import TASK
from support.refusals import Refusals, missing

GOOD = b'{"prompt": "Capital of France?", "reference": "Paris"}\n'
ARABIC = "\u200fما هي عاصمة فرنسا؟\u200e"


def chat(*turns: tuple[Any, Any]) -> bytes:
    """A line whose row is a chat of (role, content) turns."""
    messages = [{"role": role, "content": content} for role, content in turns]
    return json.dumps({"messages": messages, "reference": "a"}).encode() + b"\n"


def row(**fields: Any) -> bytes:
    return json.dumps({"prompt": "a", "reference": "b"} | fields).encode() + b"\n"


FILES: list[tuple[str, bytes, tuple[str, ...]]] = [
    ("empty", b"", ("holds no row",)),
    ("blank lines", b"\n \r\n\t\n", ("holds no row",)),
    ("only a mark", b"\xef\xbb\xbf", ("holds no row",)),
    ("latin-1", GOOD + '{"prompt": "Größe?"}'.encode("latin-1"), ("line 2", "0xf6", "is not UTF-8", "save the file")),
    ("shift-jis", '{"prompt": "漢字"}'.encode("shift-jis"), ("line 1", "is not UTF-8")),
    ("utf-16", GOOD.decode().encode("utf-16"), ("UTF-16 text", "iconv")),
    ("utf-16 without mark", GOOD.decode().encode("utf-16-le"), ("line 1", "NUL byte", "UTF-16")),
    ("utf-32", GOOD.decode().encode("utf-32"), ("UTF-32 text", "iconv")),
    ("cut in a character", GOOD + '{"prompt": "é'.encode()[:-1], ("line 2", "is not UTF-8")),
    ("surrogates in utf-8", GOOD + b'{"prompt": "\xed\xa0\x80"}', ("line 2", "0xed", "is not UTF-8")),
    ("overlong utf-8", b'{"prompt": "\xc0\x80"}', ("line 1", "0xc0", "is not UTF-8")),
    ("mark in the middle", GOOD + b"\xef\xbb\xbf" + GOOD, ("line 2", "byte order mark", "remove")),
    ("a NUL byte", GOOD + b'{"prompt": "a\0"}', ("line 2", "NUL byte")),
    ("a hole", GOOD + b"\0" * 4096, ("line 2", "NUL byte")),
    ("gzip", gzip.compress(GOOD), ("gzip-compressed", "unpack")),
    ("zip", b"PK\x03\x04...", ("zip archive", "unpack")),
    ("git lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ("Git LFS", "git lfs pull")),
    ("an array", b'[{"prompt": "a"}]', ("line 1", "found list", "one object a line")),
    ("a pretty array", b'[\n  {"prompt": "a"}\n]', ("line 1", "one object a line, not an array")),
    ("a pretty object", b'{\n  "prompt": "a"\n}', ("line 1", "not valid JSON", "one whole JSON object a line")),
    ("csv", b"prompt,reference\na,b\n", ("line 1", "not valid JSON", "one whole JSON object a line")),
    ("yaml", b"- prompt: a\n", ("line 1", "not valid JSON")),
    ("html", b"<!doctype html><html>", ("line 1", "not valid JSON")),
    ("python", b"{'prompt': 'a'}", ("line 1", "not valid JSON")),
    ("two objects", b'{"prompt": "a"} {"prompt": "b"}', ("line 1", "not valid JSON", "Extra data")),
    ("a comma at the end", b'{"prompt": "a"},\n', ("line 1", "not valid JSON", "Extra data")),
    ("a comment", GOOD + b"// more\n", ("line 2", "not valid JSON")),
    ("cut", GOOD + b'{"prompt": "a', ("line 2", "not valid JSON")),
    ("a raw tab in text", b'{"prompt": "a\tb"}', ("line 1", "not valid JSON", "control character")),
    ("a number", b"12\n", ("line 1", "found int 12")),
    ("null", b"null\n", ("line 1", "found NoneType None")),
    ("NaN", b'{"prompt": "a", "reference": NaN}', ("line 1", "NaN is not a JSON value")),
    ("infinity", b'{"prompt": "a", "reference": -Infinity}', ("line 1", "-Infinity is not a JSON value")),
    ("a key twice", b'{"prompt": "a", "prompt": "b"}', ("line 1", "'prompt'", "twice", "keep one")),
    ("a key twice inside", b'{"messages": [{"role": "user", "role": "user"}]}', ("line 1", "'role'", "twice")),
    ("too many digits", b'{"prompt": "a", "reference": ' + b"9" * 5000 + b"}", ("line 1", "5000 digits); repair")),
    ("too deep", b'{"prompt": "a", "reference": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ("line 1", "too deeply")),
    ("10 MB of one text", row(prompt="x" * 10_000_000), ("line 1", "prompt", "10,000,000 characters", "shorten")),
    ("10 MB of no JSON", b"{" + b"x" * 10_000_000, ("line 1", "not valid JSON")),
    ("10 MB of a wrong type", row(prompt=["x"] * 2_000_000), ("line 1", "prompt=['x', 'x'", "expected text")),
    ("10 MB of an id", row(id="x" * 10_000_000), ("line 1", "id='xxx", "200 printable")),
    ("10 MB of a role", chat(("x" * 10_000_000, "a")), ("line 1", "messages[0].role='xxx", "must be one of")),
    ("10 MB of a field's name", row(**{"x" * 10_000_000: 1}), ("line 1", "field's name", "xxx", "shorten")),
    ("10 MB of a reference", row(reference="x" * 10_000_000), ("line 1", "reference", "10,000,000", "shorten")),
]  # fmt: skip

ROWS: list[tuple[str, bytes, tuple[str, ...]]] = [
    ("nothing", b"{}", ("neither `messages` nor `prompt`",)),
    ("other fields", b'{"question": "a", "answer": "b"}', ("its fields are question, answer", "add one")),
    ("a thousand other fields", row().replace(b"{", b"{" + b", ".join(b'"f%d": 1' % n for n in range(1000)) + b", ", 1)
     .replace(b'"prompt"', b'"prompts"'), ("neither `messages` nor `prompt`", "f0, f1")),
    ("a field's name with a mark", b'{"\xef\xbb\xbfprompt": "a"}', ("neither `messages`", "\\ufeffprompt")),
    ("both", b'{"prompt": "a", "messages": [{"role": "user", "content": "a"}]}', ("both", "keep one")),
    ("a number as the prompt", row(prompt=3), ("prompt=3", "expected text, found int")),
    ("true as the prompt", row(prompt=True), ("prompt=True", "expected text, found bool")),
    ("null as the prompt", row(prompt=None), ("prompt", "is null", "write the question")),
    ("a list as the prompt", row(prompt=["a"]), ("prompt=['a']", "a list of turns is `messages`")),
    ("an empty prompt", row(prompt=""), ("prompt=''", "is empty")),
    ("a blank prompt", row(prompt=" \u3000\u200a"), ("prompt=", "is empty")),
    ("a prompt of marks alone", row(prompt="\u200f\u200b\ufeff"), ("prompt='\\u200f", "is empty")),
    ("a NUL", row(prompt="a\0"), ("prompt='a\\x00'", "NUL", "remove")),
    ("half a pair", row(prompt="a\ud800"), ("prompt='a\\ud800'", "surrogate", "remove")),
    ("halves in the wrong order", row(prompt="\udc00\ud800"), ("surrogate",)),
    ("half a pair in a name", row(**{"x\udfff": 1}), ("surrogate",)),
    ("half a pair deep inside", row(extra={"a": [{"b": "\udfff"}]}), ("extra.a[0].b", "surrogate")),
    ("half a pair in an id", row(id="a\udc00"), ("id='a\\udc00'", "printable")),
    ("messages as text", b'{"messages": "hi"}', ("messages='hi'", "a list of turns")),
    ("messages as an object", b'{"messages": {"role": "user"}}', ("messages={'role'", "a list of turns")),
    ("no turns", b'{"messages": []}', ("messages=[]", "a list of turns")),
    ("a turn of null", b'{"messages": [null]}', ("messages[0]=None", "an object")),
    ("a turn without content", b'{"messages": [{"role": "user"}]}', ("messages[0].content=None", "expected text")),
    ("a turn without role", b'{"messages": [{"content": "a"}]}', ("messages[0].role=None", "must be one of")),
    ("a role in capitals", chat(("User", "a")), ("messages[0].role='User'", "must be one of system, user, assistant")),
    ("a role with a space", chat(("user ", "a")), ("messages[0].role='user '", "must be one of")),
    ("another role", chat(("human", "a")), ("messages[0].role='human'", "must be one of")),
    ("the role developer", chat(("developer", "a"), ("user", "b")), ("messages[0].role='developer'",)),
    ("the role tool", chat(("user", "a"), ("tool", "b"), ("user", "c")), ("messages[1].role='tool'",)),
    ("a role that is a number", chat((1, "a")), ("messages[0].role=1", "must be one of")),
    ("a role that is an object", chat(({}, "a")), ("messages[0].role={}", "must be one of")),
    ("content in parts", chat(("user", [{"type": "text", "text": "a"}])), ("messages[0].content=[", "join the texts")),
    ("empty content", chat(("user", "a"), ("assistant", ""), ("user", "b")), ("messages[1].content=''", "is empty")),
    ("an empty system message", chat(("system", ""), ("user", "b")), ("messages[0].content=''", "is empty")),
    ("the answer at the end", chat(("user", "a"), ("assistant", "b")), ("messages[1].role='assistant'", "`reference`")),
    ("system at the end", chat(("user", "a"), ("system", "b")), ("messages[1].role='system'", "only the first")),
    ("system in the middle", chat(("user", "a"), ("system", "b"), ("user", "c")), ("messages[1].role='system'",)),
    ("two systems", chat(("system", "a"), ("system", "b"), ("user", "c")), ("messages[1].role='system'", "only the")),
    ("system alone", chat(("system", "a")), ("messages[0].role='system'", "the last turn must be the user's")),
    ("the assistant first", chat(("assistant", "a"), ("user", "b")), ("messages[0].role='assistant'", "take turns")),
    ("two users", chat(("user", "a"), ("user", "b")), ("messages[1].role='user'", "take turns")),
    ("two assistants", chat(("user", "a"), ("assistant", "b"), ("assistant", "c"), ("user", "d")),
     ("messages[2].role='assistant'", "take turns")),
    ("an id twice", row(id="a") + row(id="a"), ("id='a'", "also at line 2", "its own id")),
    ("an id as number and text", row(id=7) + row(id="7"), ("id='7'", "also at line 2")),
    ("an id in another Unicode form", row(id="\u00e9") + row(id="e\u0301"), ("id='e", "also at line 2")),
    ("an id with a space after it", row(id="a") + row(id="a "), ("id='a '", "also at line 2")),
    ("an id like a default", row(id="own-train-00002") + row(), ("id='own-train-00002'", "also at line 2")),
    ("a fraction as id", row(id=1.5), ("id=1.5", "whole number")),
    ("true as id", row(id=True), ("id=True", "whole number")),
    ("a list as id", row(id=["a"]), ("id=['a']", "whole number")),
    ("a blank id", row(id="  "), ("id='  '", "blank")),
    ("a number of 400 digits as id", row(id=10**399), ("id=", "200 printable")),
    ("an id of two lines", row(id="a\nb"), ("id='a\\nb'", "printable")),
    ("an id that turns text around", row(id="a\u202eb"), ("id='a\\u202eb'", "printable")),
    ("an id too long", row(id="x" * 201), ("id='xxx", "200 printable")),
    ("a path as domain", row(domain="../x"), ("domain='../x'", "40 letters")),
    ("a domain of this project", row(domain="Math"), ("domain='Math'", "another name")),
    ("a number as domain", row(domain=1), ("domain=1", "40 letters")),
    ("a domain too long", row(domain="x" * 41), ("domain='xxx", "40 letters")),
    ("a domain with a space", row(domain="my data"), ("domain='my data'", "40 letters")),
    ("no reference", b'{"prompt": "a"}', ("reference: is missing", "--own_grader none")),
    ("a reference of null", row(reference=None), ("reference: is missing",)),
    ("an empty reference", row(reference=""), ("reference: is missing",)),
    ("a blank reference", row(reference="\u3000"), ("reference='\\u3000'", "is blank")),
    ("a list as reference", row(reference=["a"]), ("reference=['a']", "expected text, found list")),
    ("true as reference", row(reference=True), ("reference=True", "expected text, found bool")),
    ("an infinite reference", b'{"prompt": "a", "reference": 1e999}', ("reference=inf", "finite")),
    ("a call of a tool", row(messages=[{"role": "user", "content": "a", "tool_calls": [1]}], prompt=None),
     ("messages[0].tool_calls", "not supported")),
]  # fmt: skip


def given(content: bytes) -> tuple[str, ...]:
    """Flags of a run on a training file with this content and a good evaluation file."""
    Path("train.jsonl").write_bytes(content)
    Path("eval.jsonl").write_bytes(b'{"prompt": "Capital of Peru?", "reference": "Lima"}\n')
    return ("--domains", "own", "--train_file", "train.jsonl", "--eval_file", "eval.jsonl", "--own_grader", "exact")


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_a_file_that_holds_no_rows_is_refused(refuse: Refusals, content: bytes, words: tuple[str, ...]) -> None:
    line = refuse.line("run", "--run_all", *given(content))
    assert missing(("train_file='train.jsonl'", *words), line) == [], line


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in ROWS], ids=[case[0] for case in ROWS])
def test_a_row_that_cannot_be_used_is_refused(refuse: Refusals, content: bytes, words: tuple[str, ...]) -> None:
    last = 1 + content.rstrip(b"\n").count(b"\n") + 1
    line = refuse.line("run", "--run_all", *given(GOOD + content))
    assert missing((f"train_file='train.jsonl', line {last}: ", *words), line) == [], line


@pytest.mark.parametrize(
    ("grader", "good", "reference", "words"),
    [
        ("number", 1, "eighteen", ("reference='eighteen'", "needs a number")),
        ("number", 1, True, ("reference=True", "needs a number")),
        ("number", 1, [1], ("reference=[1]", "needs a number")),
        ("json", {}, "{'a': 1}", ("needs JSON",)),
        ("json", {}, "NaN", ("needs JSON", "NaN")),
        ("json", {}, "[" * 100_000, ("needs JSON", "too deeply")),
        ("choice", "A", "F", ("reference='F'", "a letter from A to E")),
        ("choice", "A", "A, B", ("reference='A, B'", "a letter from A to E")),
        ("choice", "A", 1, ("reference=1", "a letter from A to E")),
        ("contains", "a", {"a": 1}, ("reference={'a': 1}", "expected text, found dict")),
    ],
)
def test_a_reference_that_the_grader_cannot_take_is_refused(
    refuse: Refusals, grader: str, good: Any, reference: Any, words: tuple[str, ...]
) -> None:
    flags = given(row(reference=good) + row(reference=reference))
    Path("eval.jsonl").write_bytes(row(reference=good))
    line = refuse.line("run", "--run_all", *flags[:-1], grader)
    assert missing(("line 2: ", *words), line) == [], line


def table(**columns: Any) -> Callable[[], None]:
    """Writes train.jsonl as a parquet file of these columns."""

    def write() -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns), "train.jsonl")

    return write


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (table(question=["a"], answer=["b"]), ("has the columns question, answer", "`messages` or `prompt`")),
        (table(), ("`messages` or `prompt`",)),
        (table(prompt=[], reference=[]), ("holds no row",)),
        (table(prompt=[None, "a"], reference=["b", "b"]), ("row 1", "neither")),
        (table(prompt=["a", ""], reference=["b", "b"]), ("row 2", "prompt=''", "is empty")),
        (table(prompt=[1, 2], reference=["b", "b"]), ("row 1", "prompt=1", "expected text, found int")),
        (table(prompt=[b"a"], reference=["b"]), ("row 1", "prompt=b'a'", "expected text, found bytes")),
        (table(prompt=["a"], reference=[float("nan")]), ("row 1", "reference=nan", "finite")),
        (table(prompt=["a", "b"], reference=["a", "b"], id=[1, 1]), ("row 2", "id='1'", "also at row 1")),
        (table(messages=[["a"]], reference=["b"]), ("row 1", "messages[0]='a'", "an object")),
        (table(messages=["a"], reference=["b"]), ("row 1", "messages='a'", "a list of turns")),
        (table(**{f"column{n}": [1] for n in range(500)}), ("has the columns column0", "`messages` or `prompt`")),
        (lambda: Path("train.jsonl").write_bytes(b"PAR1" + b"\0" * 100), ("cannot be read as parquet", "again")),
        (lambda: Path("train.jsonl").write_bytes(b"PAR1"), ("cannot be read as parquet", "again")),
    ],
)  # fmt: skip
def test_a_parquet_file_of_another_form_is_refused(
    refuse: Refusals, write: Callable[[], None], words: tuple[str, ...]
) -> None:
    flags = given(GOOD)
    write()
    line = refuse.line("run", "--run_all", *flags)
    assert missing(("train_file='train.jsonl'", *words), line) == [], line


@pytest.mark.parametrize("flag", ["--train_file", "--eval_file"])
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("none.jsonl", ("there is no such file",)),
        ("", ("name a folder or file",)),
        ("folder", ("is a folder", "give the JSONL or parquet file in it")),
        ("dangling", ("there is no such file",)),
        ("loop", ("cannot be read",)),
        ("train.jsonl/x", ("cannot be read",)),
        ("x" * 300, ("cannot be read",)),
        ("pipe", ("a pipe or a device", "give a readable file")),
        ("/dev/zero", ("a pipe or a device", "give a readable file")),
        ("a\0b", ("must not hold NUL",)),
    ],
)
def test_a_path_that_is_no_file_is_refused(refuse: Refusals, flag: str, path: str, words: tuple[str, ...]) -> None:
    flags = given(GOOD)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    line = refuse.line("run", "--run_all", *flags, flag, path)
    assert missing((f"{flag[2:]}=", repr(path)[1:20].rstrip("'"), *words), line) == [], line


@pytest.mark.parametrize(
    ("code", "spec", "words"),
    [
        (None, "python:g.py:grade", ("there is no file 'g.py'", "give the Python file")),
        (None, "fuzzy", ("must be one of exact, contains", "python:FILE.py:function")),
        (None, "Exact", ("must be one of exact, contains",)),
        (None, "python:g.py", ("python:FILE.py:function",)),
        (None, "python::grade", ("python:FILE.py:function",)),
        (None, "python:g.py:", ("python:FILE.py:function",)),
        (None, "python:g.py:not a name", ("python:FILE.py:function",)),
        (None, "python:g.txt:grade", ("python:FILE.py:function",)),
        ("", "python:g.py:grade", ("defines no function grade", "repair g.py")),
        ("def grade(: pass", "python:g.py:grade", ("SyntaxError", "repair g.py")),
        ("raise ValueError('two\\nlines' + 'x' * 10**6)", "python:g.py:grade", ("ValueError: two lines", "repair")),
        ("raise ValueError('\\x1b[31m\\udc80')", "python:g.py:grade", ("ValueError: ⟨U+1B⟩[31m", "repair g.py")),
        ("import sys; sys.exit(3)", "python:g.py:grade", ("SystemExit", "repair g.py")),
        ("def grade(response): return 1", "python:g.py:grade", ("TypeError", "grade(response, reference)")),
        ("def grade(a, b): return None", "python:g.py:grade", ("returned None", "a number from 0 to 1")),
        ("def grade(a, b): return 10**5000", "python:g.py:grade", ("a number from 0 to 1",)),
        ("def grade(a, b): yield 1", "python:g.py:grade", ("generator", "a number from 0 to 1")),
        ("def grade(a, b): return grade(a, b)", "python:g.py:grade", ("RecursionError", "repair g.py")),
    ],
)
def test_a_grader_that_cannot_grade_is_refused_before_models(
    refuse: Refusals, code: str | None, spec: str, words: tuple[str, ...]
) -> None:
    flags = given(GOOD)
    if code is not None:
        Path("g.py").write_text(code)
    line = refuse.line("run", "--run_all", *flags[:-1], spec)
    assert missing((f"own_grader={spec!r}", *words), line) == [], line


def test_odd_rows_that_mean_something_are_read(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {"prompt": ARABIC, "reference": "\u200fباريس"},
        {"prompt": "a\u2028b\u2029c\x85d", "reference": " x "},
        {"prompt": "\U0001f1eb\U0001f1f7 \ufeff in the middle", "reference": 18},
        {"prompt": None, "messages": [{"role": "user", "content": "a", "name": "me"}], "reference": "1.50", "id": 3},
    ]
    lines = [json.dumps(one, ensure_ascii=bool(number % 2)).encode() for number, one in enumerate(odd)]
    (tmp_path / "t.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(lines) + b"\r")
    config = ExperimentConfig(train_file=tmp_path / "t.jsonl", own_grader="exact")
    items = TASK.train_items(config)
    assert [item["messages"][0]["content"] for item in items] == [ARABIC, odd[1]["prompt"], odd[2]["prompt"], "a"]
    assert [item["reference"] for item in items] == ["\u200fباريس", " x ", "18", "1.50"]
    assert items[3]["id"] == "3"
