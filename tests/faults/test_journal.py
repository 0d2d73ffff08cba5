"""The journal names things as they are at the moment of their change."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faults.journal import Journal, NoCompilerError, Op, open_journal

FLUSH = "import os, sys; at = os.open(sys.argv[1], os.O_RDONLY); print('open', flush=True); os.fsync(at)"
CHANGES = {
    "a flush of a folder": FLUSH,
    "a flush of a file": FLUSH.replace("argv[1]", "argv[1] + '/rows.jsonl'"),
    "a write": FLUSH.replace("argv[1], os.O_RDONLY", "argv[1] + '/rows.jsonl', os.O_RDWR").replace(
        "os.fsync(at)", "os.write(at, b'more')"
    ),
    "a cut": FLUSH.replace("argv[1], os.O_RDONLY", "argv[1] + '/rows.jsonl', os.O_RDWR").replace(
        "os.fsync(at)", "os.ftruncate(at, 2)"
    ),
    "a file made in an open folder": FLUSH.replace(
        "os.fsync(at)", "os.open('new', os.O_CREAT | os.O_WRONLY, dir_fd=at)"
    ),
    "a folder made in an open folder": FLUSH.replace("os.fsync(at)", "os.mkdir('new', dir_fd=at)"),
    "a rename in an open folder": FLUSH.replace(
        "os.fsync(at)", "os.rename('rows.jsonl', 'new', src_dir_fd=at, dst_dir_fd=at)"
    ),
}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    folder = tmp_path / "run" / "answers.partial"
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("rows\n")
    try:
        return open_journal(tmp_path / "run", tmp_path / "journal")
    except NoCompilerError as reason:
        pytest.skip(str(reason))


def changing_while_locked(journal: Journal, change: str) -> subprocess.Popen[str]:
    """A process that makes `change` in answers.partial and waits for the journal's lock, which the caller holds."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHANGES[change], str(journal.root / "answers.partial")],
        env=os.environ | journal.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    while not waits_for_a_lock(process.pid) and process.poll() is None:
        time.sleep(0.01)
    return process


def waits_for_a_lock(process: int) -> bool:
    waiting = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(str(process) in line for line in waiting)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_is_renamed_while_a_change_waits_has_its_new_name_in_the_record(
    journal: Journal, change: str
) -> None:
    with journal.file.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process = changing_while_locked(journal, change)
        (journal.root / "answers.partial").rename(journal.root / "answers")
    assert process.wait() == 0
    last = list(journal.records())[-1]
    assert last.path.split("/")[0] == "answers", last
    assert last.path2.split("/")[0] in ("", "answers"), last


@pytest.mark.timeout(60)
@pytest.mark.parametrize("change", ["a flush of a folder", "a flush of a file", "a write", "a cut"])
def test_what_is_removed_while_a_change_waits_is_recorded_as_removed(journal: Journal, change: str) -> None:
    with journal.file.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process = changing_while_locked(journal, change)
        shutil.rmtree(journal.root / "answers.partial")
    assert process.wait() == 0
    last = list(journal.records())[-1]
    assert last.op in (Op.FSYNC, Op.WRITE, Op.TRUNCATE)
    assert last.path.endswith(" (deleted)"), last
