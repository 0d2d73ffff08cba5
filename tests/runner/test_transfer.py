"""Files between a run folder and a node's copy: only what is new moves, each part is checked, an order is kept."""

from __future__ import annotations

import errno
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from l2s.errors import UserError
from l2s.runner.cluster import transfer
from l2s.runner.cluster.connect import absolute_storage
from l2s.runner.cluster.transfer import Hashes, Inbox, Storage, Watch, read_parts


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 10)


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Path, Path]:
    """The folder on a node, and the one on the driver."""
    node, driver = tmp_path / "node", tmp_path / "driver"
    node.mkdir()
    driver.mkdir()
    return node, driver


def move(watch: Watch, driver: Path, storage: Storage | None = None) -> list[tuple[str, int]]:
    """Move what changed; returns names, and the bytes that travelled as data."""
    moved = []
    for change in watch.changes()[0]:
        parts = list(read_parts(watch.root, change, Hashes(), storage))
        for part in parts:
            Inbox(driver, storage).put(part)
        watch.sent(change)
        moved.append((change.name, sum(len(part.data) for part in parts)))
    return moved


def test_a_file_arrives_whole_in_several_parts(ends: tuple[Path, Path]) -> None:
    node, driver = ends
    watch = Watch(node, ["a"])
    (node / "a").mkdir()
    (node / "a" / "model").write_bytes(bytes(range(35)))
    assert move(watch, driver) == [("a/model", 35)]
    assert (driver / "a" / "model").read_bytes() == bytes(range(35))
    assert move(watch, driver) == []


def test_of_a_log_only_what_was_added_moves(ends: tuple[Path, Path]) -> None:
    node, driver = ends
    (node / "x.jsonl").write_text("before\n")
    (driver / "x.jsonl").write_text("before\n")
    watch = Watch(node, ["x.jsonl"])
    for line in ("one\n", "two two two two two\n"):
        with (node / "x.jsonl").open("a") as file:
            file.write(line)
    assert move(watch, driver) == [("x.jsonl", 10)]
    while move(watch, driver):
        pass
    assert (driver / "x.jsonl").read_text() == "before\none\ntwo two two two two\n"


def test_a_log_that_was_cut_and_then_grew_moves_whole(ends: tuple[Path, Path]) -> None:
    """A resumed process cuts the unfinished last line off and appends: the file is longer, but not the old one."""
    node, driver = ends
    (node / "x.jsonl").write_text("whole\nunfini")
    (driver / "x.jsonl").write_text("whole\nunfini")
    watch = Watch(node, ["x.jsonl"])
    with (node / "x.jsonl").open("r+") as file:
        file.truncate(6)
        file.seek(6)
        file.write("another line\n")
    move(watch, driver)
    assert (driver / "x.jsonl").read_text() == "whole\nanother line\n"


def test_what_is_being_written_does_not_move_and_what_is_gone_is_named(ends: tuple[Path, Path]) -> None:
    node, _ = ends
    (node / "old").write_text("x")
    watch = Watch(node, ["old", "new", "folder"])
    (node / "old").unlink()
    (node / ".new.12.partial").write_text("half")
    (node / "folder" / ".model.partial").mkdir(parents=True)
    (node / "folder" / ".model.partial" / "weights").write_text("half")
    assert watch.changes() == ([], ["old"])


def test_changes_come_in_the_order_of_writing(ends: tuple[Path, Path]) -> None:
    """An index says that its shards are whole, so it must not arrive before them."""
    import os

    node, _ = ends
    watch = Watch(node, ["s"])
    (node / "s").mkdir()
    for seconds, name in enumerate(["z-shard", "m-shard", "a-index"]):
        (node / "s" / name).write_text(name)
        os.utime(node / "s" / name, (seconds, seconds))
    assert [change.name for change in watch.changes()[0]] == ["s/z-shard", "s/m-shard", "s/a-index"]


def test_damage_on_the_way_is_found(ends: tuple[Path, Path]) -> None:
    node, driver = ends
    (node / "f").write_bytes(b"0123456789abcdefghij")
    first, second = read_parts(node, transfer.whole(node, "f"), Hashes(), None)
    inbox = Inbox(driver, None)
    with pytest.raises(ValueError, match="damaged on its way"):
        inbox.put(replace(first, data=b"x123456789"))
    (driver / ".f.arriving.partial").write_bytes(b"")
    with pytest.raises(ValueError, match="a part before byte 10 is missing"):
        inbox.put(second)
    assert not (driver / "f").exists()


def test_large_files_travel_through_a_storage_and_are_checked(ends: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    node, driver = ends
    storage = Storage(str(tmp_path / "shared"), "name", 10, "said")
    storage.check()
    (node / "f").write_bytes(b"0123456789abcdefghij")
    part, *others = read_parts(node, transfer.whole(node, "f"), Hashes(), storage)
    assert (part.data, others) == (b"", [])
    Inbox(driver, storage).put(part)
    assert (driver / "f").read_bytes() == (node / "f").read_bytes()
    assert part.key is not None
    Path(part.key).write_bytes(b"something else")
    with pytest.raises(ValueError, match="damaged in"):
        Inbox(driver, storage).put(part)
    storage.clear()
    assert not Path(part.key).exists()


def test_a_log_that_grows_while_it_is_stored_travels_as_data(
    ends: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec")
    node, driver = ends
    storage, log = Storage(str(tmp_path / "shared"), "name", 10), node / "a.jsonl"
    log.write_bytes(b"0123456789\n")
    change, put = transfer.whole(node, "a.jsonl"), storage.put

    def put_late(path: Path, sha256: str) -> str:
        log.write_bytes(log.read_bytes() + b"more\n")
        return put(path, sha256)

    monkeypatch.setattr(storage, "put", put_late)
    for part in read_parts(node, change, Hashes(), storage):
        Inbox(driver, storage).put(part)
    assert (driver / "a.jsonl").read_bytes() == b"0123456789\n"
    assert not list(Path(storage.root).iterdir())


def test_a_bucket_that_is_not_there_is_refused_and_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    storage, made = Storage("memory://x", "name"), list[str]()
    storage.root = "bucket/name.transfer"  # as file systems of buckets have it: their paths begin with the bucket
    monkeypatch.setattr(storage.files, "makedirs", lambda path, exist_ok: made.append(path))
    with pytest.raises(UserError, match=r"storage_path: memory://x/name.transfer cannot be used \(there is no bucket"):
        storage.check()
    assert not made


def test_a_folder_that_each_node_has_for_itself_is_no_storage(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    driver, other = (Storage(str(tmp_path / name), "name", 10, "this run") for name in ("one", "another"))
    for storage in (driver, other):
        storage.check()
    with pytest.raises(UserError, match=r"storage_path: b does not find in .* what the run wrote there"):
        other.check_is_shared("b")
    driver.say()
    driver.check_is_shared("a")
    with pytest.raises(UserError, match="give a folder or URL that all nodes share"):
        Storage(str(tmp_path / "one"), "name", 10, "the next run").check_is_shared("a")


def test_a_large_file_never_is_in_memory_whole(ends: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers to millions of prompts pass the driver in parts: 64 parts take no more memory than four."""
    part = 1 << 16
    monkeypatch.setattr(transfer, "PART_BYTES", part)
    node, driver = ends
    watch, inbox, peaks = Watch(node, ["x.jsonl"]), Inbox(driver, None), []
    for parts in (4, 64):
        with (node / "x.jsonl").open("ab") as file:
            file.write((b"a" * 99 + b"\n") * (parts * part // 100))
        tracemalloc.start()
        while changes := watch.changes()[0]:
            for change in changes:
                for piece in read_parts(node, change, Hashes(), None):
                    inbox.put(piece)
                watch.sent(change)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (driver / "x.jsonl").read_bytes() == (node / "x.jsonl").read_bytes()
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 4 * part


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://", "a URL names a folder"),
        ("file://", "a URL names a folder"),
        ("s3:/bucket", "a URL names a folder"),
        ("s3:bucket/folder", "a URL names a folder"),
        ("nosuch://bucket", "install what this URL needs"),
        ("ftp://127.0.0.1:9/x", "Connection refused"),
    ],
)
def test_a_url_that_is_none_is_refused_in_one_line(url: str, words: str) -> None:
    """A folder with such a name would be made in the folder of the command, on each node for itself."""
    with pytest.raises(UserError, match=words) as found:
        Storage(absolute_storage(url), "name").check()
    assert f"storage_path={url!r}" in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["a b", "ü/三", "file://{}/a b/ü"])
def test_a_storage_may_have_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage(absolute_storage(name.format(tmp_path)), "name")
    storage.check()
    (tmp_path / "file").write_text("text")
    storage.get(storage.put(tmp_path / "file", "0" * 64), tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "text"
    assert Path(storage.root).is_relative_to(tmp_path)


@pytest.mark.parametrize("target", ["a file", "a file/below"])
def test_a_folder_that_cannot_be_made_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(UserError, match=f"storage_path: {tmp_path}/{target}/name.transfer cannot be used"):
        Storage(str(tmp_path / target), "name").check()


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, "No space left"), (errno.ENOENT, "No such bucket")])
def test_a_storage_that_fills_up_or_goes_during_a_run_is_named(
    number: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path / "shared"), "name")
    (tmp_path / "file").write_text("text")

    def full(*_: Any) -> None:
        raise OSError(number, reason.replace(" ", "\n", 1))

    monkeypatch.setattr(storage.files, "put_file", full)
    monkeypatch.setattr(storage.files, "get_file", full)
    monkeypatch.setattr(storage.files, "rm_file", full)
    moves: list[Callable[[], object]] = [
        lambda: storage.put(tmp_path / "file", "0" * 64),
        lambda: storage.get("key", tmp_path / "copy"),
        lambda: storage.remove("key"),
    ]
    for move in moves:
        with pytest.raises(UserError, match=rf"storage_path: .*shared/name.transfer failed \(.*{reason}"):
            move()
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):  # the next look finds what replaced it
        storage.put(tmp_path / "gone", "1" * 64)
