"""What the model of a crashed disk holds: all that was flushed, and of the rest any part."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from faults.disk_model import BLOCK, Chance, Disk, everything, nothing_more, some
from faults.journal import Op, Record

FOLDER, FILE, MORE = 1, 2, 3  # inodes


def change(op: Op, path: str, inode: int = 0, *, data: bytes = b"", offset: int = 0, path2: str = "") -> Record:
    return Record(op, 1, inode, offset, path, path2, data)


MADE = [
    change(Op.MKDIR, "run", FOLDER),
    change(Op.CREATE, "run/.a.partial", FILE),
    change(Op.WRITE, "run/.a.partial", FILE, data=b"whole"),
]
FILE_FLUSHED = change(Op.FSYNC, "run/.a.partial", FILE)
RENAMED = change(Op.RENAME, "run/.a.partial", path2="run/a")
NAMES_FLUSHED = change(Op.FSYNC, "run", FOLDER)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    root = tmp_path / "root"
    root.mkdir()
    (root / "old").write_bytes(b"old")
    return Disk(root)


def crashed(disk: Disk, records: list[Record], folder: Path, chance: Chance) -> dict[str, bytes]:
    root = next(inode for inode, node in disk.inodes.items() if node is disk.root)
    for record in [*records, change(Op.FSYNC, "/root", root)]:
        disk.apply(record)
    disk.after_crash(folder, chance)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("records", "least"),
    [
        (MADE, {}),
        ([*MADE, FILE_FLUSHED], {}),
        ([*MADE, NAMES_FLUSHED], {"run/.a.partial": b""}),
        ([*MADE, FILE_FLUSHED, NAMES_FLUSHED], {"run/.a.partial": b"whole"}),
        ([*MADE, RENAMED, NAMES_FLUSHED], {"run/a": b""}),
        ([*MADE, FILE_FLUSHED, NAMES_FLUSHED, RENAMED], {"run/.a.partial": b"whole"}),
        ([*MADE, FILE_FLUSHED, RENAMED, NAMES_FLUSHED], {"run/a": b"whole"}),
        ([*MADE, FILE_FLUSHED, RENAMED, NAMES_FLUSHED, change(Op.REMOVE, "run/a")], {"run/a": b"whole"}),
        ([*MADE, FILE_FLUSHED, RENAMED, NAMES_FLUSHED, change(Op.REMOVE, "run/a"), NAMES_FLUSHED], {}),
    ],
)
def test_the_least_that_is_left_is_what_was_flushed(
    disk: Disk, tmp_path: Path, records: list[Record], least: dict[str, bytes]
) -> None:
    assert crashed(disk, records, tmp_path / "least", nothing_more) == {"old": b"old"} | least


def test_the_most_that_is_left_is_every_change(disk: Disk, tmp_path: Path) -> None:
    changes = [*MADE, RENAMED, change(Op.REMOVE, "old"), change(Op.TRUNCATE, "run/a", FILE, offset=2)]
    assert crashed(disk, changes, tmp_path / "most", everything) == {"run/a": b"wh"}


def test_in_between_blocks_of_a_write_are_left_by_themselves_and_a_rename_as_a_whole(
    disk: Disk, tmp_path: Path
) -> None:
    records = [*MADE[:2], NAMES_FLUSHED, change(Op.WRITE, "run/.a.partial", FILE, data=b"x" * 3 * BLOCK), RENAMED]
    rng = random.Random(0)
    found = crashed(disk, records, tmp_path / "first", nothing_more)
    states = {tuple(found.items())}
    for number in range(40):
        disk.after_crash(folder := tmp_path / str(number), some(rng))
        left = {path.name: path.read_bytes() for path in (folder / "run").iterdir()}
        assert len(left) == 1
        states.add(tuple(left.items()))
    blocks = {data for state in states for _, data in state}
    assert {name for state in states for name, _ in state} >= {".a.partial", "a"}
    assert bytes(BLOCK) + b"x" * 2 * BLOCK in blocks  # the first block is missing
    assert b"x" * BLOCK in blocks


def test_a_file_that_appears_under_another_name_was_renamed(disk: Disk, tmp_path: Path) -> None:
    changes = [*MADE, change(Op.FSYNC, "run/a", FILE), NAMES_FLUSHED]  # by a library that bypasses libc
    assert crashed(disk, changes, tmp_path / "least", nothing_more) == {"old": b"old", "run/a": b"whole"}


def test_names_of_a_flushed_folder_are_those_it_has(disk: Disk, tmp_path: Path) -> None:
    listed = change(Op.FSYNC, "run", FOLDER, data=b"%d a\0" % FILE)
    assert crashed(disk, [*MADE, listed], tmp_path / "least", nothing_more) == {"old": b"old", "run/a": b""}


def test_what_the_journal_cannot_follow_is_an_error(disk: Disk) -> None:
    with pytest.raises(ValueError, match="cannot follow a writable shared mapping"):
        disk.apply(change(Op.UNKNOWN, "a writable shared mapping"))
