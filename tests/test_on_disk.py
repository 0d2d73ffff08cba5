"""Rows that stay on disk are those of the file, logs are read once, and memory does not grow with what they hold."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from l2s import on_disk
from l2s.durable import WriteError
from l2s.jsonl import append_jsonl, load_jsonl, write_jsonl
from l2s.on_disk import Ids, RowsOnDisk, SealedLogs, chosen, spilled_rows
from l2s.sealed import seal


def row(id_: str, value: Any = 1) -> dict[str, Any]:
    return seal({"id": id_, "value": value})


def logs_of(folder: Path, ids: str) -> SealedLogs[Any]:
    return SealedLogs(Ids(ids), lambda: sorted(folder.glob("*.jsonl")), lambda found: found["value"])


def test_rows_are_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_jsonl(file, [{"text": "zwölf\u2028 \r\n"}, {"text": "三"}, {}])
    file.write_bytes(file.read_bytes().replace(b"\n", b"\n\n", 1))
    rows = RowsOnDisk(file)
    assert list(rows) == load_jsonl(file)
    assert (len(rows), rows[-1], rows[1:]) == (3, {}, [{"text": "三"}, {}])
    with pytest.raises(IndexError):
        rows[3]


def test_a_row_that_is_no_object_is_named_by_file_and_byte(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{}\n{"a": \n')
    with pytest.raises(ValueError, match=r"rows.jsonl, at byte 3, line 1: not valid JSON"):
        RowsOnDisk(file)[1]
    file.write_bytes(b"\n")
    with pytest.raises(ValueError, match="holds no row"):
        RowsOnDisk(file)


def test_values_without_a_file_of_their_own_are_read_back_also_by_a_forked_process() -> None:
    values = [{"text": "三" * n} for n in range(50)]
    spilled = spilled_rows(iter(values))
    assert list(spilled) == values
    assert list(chosen(spilled, [7, 3])) == [values[7], values[3]]
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, json.dumps(spilled[-1]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert json.loads(os.read(reading, 1000)) == spilled[49]


def test_values_that_do_not_fit_in_tmpdir_are_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2s.on_disk.TemporaryFile", lambda: open("/dev/full", "w+b", buffering=0))  # noqa: PTH123, SIM115
    with pytest.raises(WriteError, match=gettempdir()) as found:
        spilled_rows([{"text": "long"}])
    assert found.value.needed == len('{"text": "long"}')


def test_ids_that_stood_before_are_named_with_their_first_place() -> None:
    assert Ids(["b", "a", "三", "a", "b", "a"]).repeated() == [(3, 1), (4, 0), (5, 1)]
    assert Ids(["a", "b"]).repeated() == Ids([]).repeated() == []


def test_ids_are_found_at_their_place_and_unknown_ones_nowhere() -> None:
    ids = Ids(["b", "a", "三", "a"])
    assert [ids.find(id_) for id_ in ("b", "a", "三", "c", "")] == [0, 1, 2, None, None]
    assert len(ids) == 3
    assert Ids([]).find("a") is None


def test_each_line_of_each_log_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs, read = logs_of(tmp_path, "abcd"), []
    plain = on_disk._row_of

    def noted(line: bytes) -> Any:
        read.append(json.loads(line)["id"])
        return plain(line)

    monkeypatch.setattr(on_disk, "_row_of", noted)
    append_jsonl(tmp_path / "0.jsonl", [row("a")])
    logs.look()
    append_jsonl(tmp_path / "1.jsonl", [row("b"), row("x")])
    append_jsonl(tmp_path / "0.jsonl", [row("c")])
    logs.look()
    logs.look()
    assert read == ["a", "c", "b", "x"]
    assert not logs.is_complete
    append_jsonl(tmp_path / "1.jsonl", [row("d")])
    logs.look()
    assert logs.is_complete
    assert sorted(logs) == ["a", "b", "c", "d"]


def test_a_line_counts_once_it_is_whole_and_a_damaged_one_never(tmp_path: Path) -> None:
    log, logs = tmp_path / "0.jsonl", logs_of(tmp_path, "abc")
    whole = json.dumps(row("b", "text")).encode() + b"\n"
    damaged = json.dumps(row("a") | {"value": 2}).encode() + b"\n\0\0\n[1]\n" + json.dumps({"id": 3}).encode() + b"\n"
    log.write_bytes(damaged + whole[:-4])
    logs.look()
    assert list(logs) == []
    log.write_bytes(damaged + whole + b"{")
    logs.look()
    assert dict(logs) == {"b": "text"}
    assert "a" not in logs
    with pytest.raises(KeyError):
        logs["a"]


def test_a_log_that_was_replaced_is_read_again_and_the_later_line_counts(tmp_path: Path) -> None:
    log, logs = tmp_path / "0.jsonl", logs_of(tmp_path, "ab")
    append_jsonl(log, [row("a", "long" * 9), row("a", "later")])
    logs.look()
    assert logs["a"] == "later"
    write_jsonl(log, [row("b"), row("a", "new")])
    logs.look()
    assert dict(logs) == {"a": "new", "b": 1}


def test_a_line_that_is_damaged_after_it_was_read_is_named(tmp_path: Path) -> None:
    log, logs = tmp_path / "0.jsonl", logs_of(tmp_path, "a")
    append_jsonl(log, [row("a", "text")])
    logs.look()
    log.write_bytes(log.read_bytes().replace(b"text", b"test"))
    with pytest.raises(ValueError, match=r"0.jsonl, at byte 0: damaged since it was read"):
        logs["a"]


def test_memory_holds_places_and_no_rows(tmp_path: Path) -> None:
    number = 4000
    append_jsonl(tmp_path / "0.jsonl", [row(f"math/{n}", "x" * 500) for n in range(number)])
    tracemalloc.start()
    logs = SealedLogs(Ids(f"math/{n}" for n in range(number)), lambda: [tmp_path / "0.jsonl"], lambda found: found)
    logs.look()
    rows = RowsOnDisk(tmp_path / "0.jsonl")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert logs.is_complete
    assert len(rows) == number
    assert held < 60 * number
