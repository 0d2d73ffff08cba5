"""The journal of all changes in one folder, written by the processes that make them through `journal.c`."""

from __future__ import annotations

import shlex
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from os import environ
from pathlib import Path

SOURCE = Path(__file__).with_name("journal.c")
HEADER = struct.Struct("=IIQqIIII")


class Op(IntEnum):
    """The kinds of records, as in journal.c."""

    CREATE = 1
    MKDIR = 2
    SYMLINK = 3
    LINK = 4
    TRUNCATE = 5
    WRITE = 6
    RENAME = 7
    REMOVE = 8
    FSYNC = 9
    UNKNOWN = 10


@dataclass(frozen=True)
class Record:
    """One change. `path` and `path2` are relative to the folder; `path2` is a new name, or a link's target.

    The path of a write, truncation or fsync is that of the file then; " (deleted)" follows that of a removed file.
    """

    op: Op
    pid: int
    inode: int
    offset: int  # of a write; of a truncation, the new length
    path: str
    path2: str
    data: bytes


class NoCompilerError(Exception):
    """The library of the journal cannot be built here."""


@dataclass(frozen=True)
class Journal:
    """A journal in `file` of the changes in `root`."""

    root: Path
    file: Path
    library: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that keeps the journal, and of all that it starts."""
        return {
            "LD_PRELOAD": str(self.library),
            "L2S_JOURNAL_ROOT": str(self.root.resolve()),
            "L2S_JOURNAL": str(self.file),
        }

    def records(self) -> Iterator[Record]:
        """All records in the order of the changes."""
        root = str(self.root.resolve()) + "/"
        with self.file.open("rb") as file:
            while header := file.read(HEADER.size):
                op, pid, inode, offset, first, second, length, _ = HEADER.unpack(header)
                path, path2 = file.read(first).decode(), file.read(second).decode()
                names = path.removeprefix(root), path2.removeprefix(root)
                yield Record(Op(op), pid, inode, offset, *names, file.read(length))


def open_journal(root: Path, folder: Path) -> Journal:
    """A new journal of the changes in `root`, with its library, in `folder`.

    Raises:
        NoCompilerError: says what is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "journal.so"
    compiler = shlex.split(environ.get("CC", "cc"))
    try:
        command = [*compiler, "-O1", "-shared", "-fPIC", str(SOURCE), "-o", str(library), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.stderr.strip()[-300:] if isinstance(error, subprocess.CalledProcessError) else error
        raise NoCompilerError(f"`{compiler[0]}` cannot build faults/journal.c: {reason}") from None
    return Journal(root, folder / "journal", library)
