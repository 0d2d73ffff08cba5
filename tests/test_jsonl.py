"""JSON Lines files: errors that name the line, appends that survive a kill."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from l2s.durable import WriteError, remove_partials
from l2s.jsonl import append_jsonl, load_jsonl, recover_jsonl, write_jsonl


def test_what_is_written_is_read_back_with_text_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"id": "1", "text": "日志 \n second line"}, {"id": "2", "text": "\u2028"}]
    write_jsonl(path, rows)
    assert load_jsonl(path) == rows
    assert "日志" in path.read_text(encoding="utf-8")


def test_a_broken_line_7_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1}\n' * 6 + '{"id": \n' + '{"id": 8}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl, line 7: not valid JSON"):
        load_jsonl(path)


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1}\n[1, 2]\n')
    with pytest.raises(ValueError, match="line 2: expected a JSON object, found list"):
        load_jsonl(path)


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n\n")
    with pytest.raises(ValueError, match="empty"):
        load_jsonl(path)


def test_recovery_cuts_the_line_that_a_kill_left_half_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_jsonl(path, [{"id": 1}, {"id": 2}])
    with path.open("a") as file:
        file.write('{"id": 3, "te')
    assert recover_jsonl(path) == [{"id": 1}, {"id": 2}]
    append_jsonl(path, [{"id": 3}])
    assert load_jsonl(path) == [{"id": 1}, {"id": 2}, {"id": 3}]


def test_recovery_of_nothing_is_empty(tmp_path: Path) -> None:
    assert recover_jsonl(tmp_path / "none.jsonl") == []
    (tmp_path / "half.jsonl").write_text('{"id"')
    assert recover_jsonl(tmp_path / "half.jsonl") == []
    assert (tmp_path / "half.jsonl").read_text() == ""


@pytest.mark.parametrize(
    "data",
    [
        b'\xef\xbb\xbf{"id": 1}\n{"id": 2}\n',
        b'{"id": 1}\r\n{"id": 2}\r\n',
        b'{"id": 1}\r{"id": 2}\r',
        b'\n  \n{"id": 1}\n\t\n\n{"id": 2}\n\n',
        b'{"id": 1}\n{"id": 2}',
        b'\xef\xbb\xbf\r\n{"id": 1}\r\n\r\n{"id": 2}',
    ],
    ids=["byte order mark", "CRLF", "CR", "blank lines", "no last line end", "several"],
)
def test_files_as_other_editors_save_them_are_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    assert load_jsonl(tmp_path / "a.jsonl") == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"id": 1}\n'.encode("utf-16"), "this is UTF-16 text; convert it"),
        ('{"id": 1}\n'.encode("utf-16-be"), "line 1: holds a NUL byte; .* UTF-16"),
        ('{"id": 1}\n'.encode("utf-32"), "this is UTF-32 text"),
        (b'{"id": 1}\n\n{"id": "\xe9"}\n', "line 3: the byte 0xe9 at offset 19 of the file is not UTF-8"),
        (b'\xef\xbb\xbf{"id": 1}\n{"id": "\xff"}\n', "line 2: the byte 0xff at offset 21 "),
        (b'{"id": 1}\n{"id": "\xe4\xbd', "line 2: the byte 0xe4 at offset 18 "),
        (b'{"id": 1}\n' + bytes(100), "line 2: holds a NUL byte"),
        (b'{"id": 1}\n{"id": "a\0b"}\n', "line 2: holds a NUL byte"),
        (b"\x1f\x8b\x08", "this is gzip-compressed; unpack it"),
        (b"PAR1xx", "this is a parquet file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS; run `git lfs pull`"),
        (b'[{"id": 1}]\n', "line 1: expected a JSON object, found list .*; write one object a line"),
        (b'{"a":' * 100_000, "line 1: JSON nested too deeply"),
        (b"", "the file is empty"),
    ],
)
def test_a_file_in_another_format_is_named_with_the_place_and_what_to_do(
    tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.jsonl.*{message}"):
        load_jsonl(tmp_path / "a.jsonl")


def test_half_a_character_is_written_and_read_back(tmp_path: Path) -> None:
    rows = [{"text": "half \ud83d of 😀"}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    assert load_jsonl(tmp_path / "a.jsonl") == rows


def test_numbers_that_json_does_not_know_are_written_as_null(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": -float("inf")}, "e": "NaN"}]
    write_jsonl(path, rows)
    append_jsonl(path, rows)
    assert load_jsonl(path) == [{"a": None, "b": [1.5, None], "c": {"d": None}, "e": "NaN"}] * 2
    assert "Infinity" not in path.read_text()


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_file_is_kept(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / "predictions").mkdir()
    stale = tmp_path / "predictions" / f".a.jsonl.{ended.pid}.partial"
    kept = [tmp_path / f".a.jsonl.{os.getpid()}.partial", tmp_path / ".model.partial", tmp_path / "a.partial.jsonl"]
    for path in (stale, *kept):
        path.write_text("half")
    remove_partials(tmp_path)
    assert not stale.exists()
    assert all(path.exists() for path in kept)


def test_a_folder_in_place_of_an_append_log_is_refused_and_keeps_its_files(tmp_path: Path) -> None:
    (log := tmp_path / "log.jsonl").mkdir()
    (log / "notes.txt").write_text("mine")

    with pytest.raises(WriteError, match=r"log\.jsonl"):
        recover_jsonl(log)

    assert (log / "notes.txt").read_text() == "mine"
