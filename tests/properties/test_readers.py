"""Whatever a file holds, its reader gives rows, or an error for users that names file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig, resolve_config
from l2s.config.yaml_file import read_settings
from l2s.errors import UserError, plain, shown
from l2s.jsonl import append_jsonl, dump_row, finite, load_jsonl, recover_jsonl, write_jsonl
from l2s.tasks.own import TASK
from l2s.tasks.own.files import RowsOfFile
from l2s.tasks.own.graders import GRADERS
from l2s.tasks.own.rows import make_items
from l2s.tasks.types import Item
from support.properties import CHARACTERS, JSON, holds, st

ROWS = st.lists(st.dictionaries(st.text(CHARACTERS, max_size=5), JSON, max_size=3), min_size=1, max_size=4)
# Files as they are damaged: pieces of good lines, marks of other formats, and any bytes.
PIECES = (
    b'{"prompt": "a", "reference": "b"}', b'{"prompt": ', b'"a"', b"}", b"{", b"[", b"]", b",", b"\n", b"\r\n", b"\r",
    b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0", b"NaN", b"1e999", b"-Infinity", b"\\ud800", b"\xed\xa0\x80",
    b"\xe9",
    b"\xe2\x80\xa8", b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"9" * 4400, b"null", b"alpha: 0.5", b"alpha: ", b"- a",
    b"&a ",
    b"*a", b"? ", b"!!python/name:os.system ", b"\t", b"  ", b"---\n", b"'", b"seed: 1\n", b"<<: ", b": ",
)  # fmt: skip
CONTENTS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=10).map(b"".join)
# Rows that are nearly right.
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "", "User"]) | st.none() | st.integers(0, 1)
TEXTS = st.sampled_from(["a", "", " ", "a\0", "a\ud800", "\u200f", "x" * 1_000_001]) | st.text(CHARACTERS, max_size=5)
TURNS = st.lists(st.fixed_dictionaries({"role": ROLES}, optional={"content": TEXTS | JSON}), max_size=4)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "prompt": TEXTS | JSON, "messages": TURNS | JSON, "id": TEXTS | JSON, "reference": TEXTS | JSON,
        "domain": TEXTS | JSON, "more": JSON,
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def outcome(read: Callable[[], Any], expected: type[Exception] = UserError) -> tuple[Any, str]:
    """What was read, or else the line that says why nothing was."""
    try:
        return read(), ""
    except expected as error:
        line = str(error)
    assert line.isprintable(), ascii(line)
    assert len(line) < 700
    return None, line


@holds(rows=ROWS)
def test_rows_come_back_as_they_were_written(folder: Path, rows: list[dict[str, Any]]) -> None:
    write_jsonl(folder / "rows.jsonl", rows)
    assert load_jsonl(folder / "rows.jsonl") == rows
    assert all(dump_row(row).count("\n") == 1 for row in rows)


@holds(rows=ROWS, share=st.floats(0, 1), examples=80)
def test_a_log_that_was_cut_anywhere_keeps_its_whole_lines(
    folder: Path, rows: list[dict[str, Any]], share: float
) -> None:
    log = folder / "log.jsonl"
    log.unlink(missing_ok=True)
    append_jsonl(log, rows)
    log.write_bytes(log.read_bytes()[: int(share * log.stat().st_size)])
    kept = recover_jsonl(log)
    assert kept == rows[: len(kept)]
    append_jsonl(log, rows[len(kept) :])
    assert load_jsonl(log) == rows


@holds(content=CONTENTS, examples=400)
def test_any_bytes_are_rows_or_an_error_that_names_the_file(folder: Path, content: bytes) -> None:
    path = folder / "any.jsonl"
    path.write_bytes(content)
    rows, error = outcome(lambda: load_jsonl(path), ValueError)
    if error:
        assert error.startswith((f"{path}: ", f"{path}, line "))
    else:
        assert load_again(folder, rows) == [finite(row) for row in rows]


@holds(content=CONTENTS, examples=400)
def test_any_bytes_are_own_rows_or_an_error_that_names_field_and_file(folder: Path, content: bytes) -> None:
    path = folder / "own.jsonl"
    path.write_bytes(content)
    items, error = outcome(lambda: own_items(path, "exact"))
    if error:
        assert error.startswith(f"train_file={str(path)!r}")
    else:
        assert load_again(folder, items) == items


def own_items(path: Path, grader: str) -> list[Item]:
    return list(make_items(RowsOfFile("train_file", path), "train", GRADERS[grader], "", ["math"]))


def load_again(folder: Path, rows: Any) -> Any:
    write_jsonl(folder / "again.jsonl", rows)
    return load_jsonl(folder / "again.jsonl")


@pytest.mark.parametrize("grader", GRADERS)
@holds(row=NEARLY, examples=120)
def test_any_row_is_an_item_or_an_error_that_names_its_line(folder: Path, grader: str, row: dict[str, Any]) -> None:
    path = folder / "row.jsonl"
    path.write_text('{"prompt": "a"}\n' + json.dumps(row) + "\n")
    items, error = outcome(lambda: own_items(path, grader))
    if error:
        assert error.startswith(f"train_file={str(path)!r}, line ")
        return
    assert items[1]["messages"][-1]["role"] == "user"
    assert load_again(folder, items) == items
    grade = TASK.grade(items[1], "a", "stop", ExperimentConfig(own_grader=grader))
    assert grade is None or items[1]["reference"] is not None


@holds(content=CONTENTS, examples=400)
def test_any_bytes_are_settings_or_an_error_that_names_the_file(folder: Path, content: bytes) -> None:
    path = folder / "any.yaml"
    path.write_bytes(content)
    settings, error = outcome(lambda: read_settings(path))
    assert error.startswith(f"--config {path}") if error else all(isinstance(name, str) for name in settings)


@holds(field=st.sampled_from(sorted(ExperimentConfig.model_fields)), value=JSON, examples=600)
def test_any_value_of_a_setting_is_taken_or_refused_in_one_line(field: str, value: Any) -> None:
    config, error = outcome(lambda: resolve_config({field: value}))
    if error:
        assert field in error
    else:
        json.dumps(config.model_dump(mode="json"), allow_nan=False)


@holds(value=JSON)
def test_what_an_error_shows_is_short_and_printable(value: Any) -> None:
    for text in (shown(value), plain(str(value))):
        assert text.isprintable()
        assert 0 < len(text) <= 63
