"""JSON Lines files: errors that name the line, appends that survive a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

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
