"""JSON Lines: read with line numbers in errors, append durably, write atomically. Imports nothing from l2s.

`replacing_file` and `replacing_folder` write anything else atomically.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Row = dict[str, Any]  # one JSON object; its fields are the caller's contract


def load_jsonl(path: str | Path) -> list[Row]:
    """Return the objects of a JSON Lines file, in order; blank lines are passed over.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no row, or a line is not a JSON object; the message names file and line.
    """
    rows = []
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                rows.append(_parse(line, path, number))
    if not rows:
        raise ValueError(f"{path}: the file is empty; expected one JSON object a line")
    return rows


def _parse(line: str, path: str | Path, number: int) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: not valid JSON ({error.msg}); repair or remove this line") from error
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
    return row


def dump_row(row: Mapping[str, Any]) -> str:
    """One row as it stands in a file: one line, non-ASCII text readable, keys in the order given."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def append_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append `rows` and return only when they are on disk, so that a kill loses none that was reported."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.writelines(dump_row(row) for row in rows)
        file.flush()
        os.fsync(file.fileno())


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows` so that a reader sees the old file or the whole new one, never a part."""
    write_text_atomic(path, "".join(dump_row(row) for row in rows))


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write `text` so that a reader sees the old file or the whole new one."""
    with replacing_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def replacing_file(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path`; the file or link written there replaces `path` once it is whole and on disk.

    Several processes may do so at once: the last one wins. Where the block raises, `path` stays as it is.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)
        yield partial
        if not partial.is_symlink():
            _flush(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _flush(path.parent)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`; the folder written there replaces `path` once it is whole and on disk.

    For one process at a time. A reader sees the old folder, none for a moment, or the whole new one. What a killed
    process left there is removed first.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    yield partial
    for part in [partial, *partial.rglob("*")]:
        _flush(part)
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def recover_jsonl(path: str | Path) -> list[Row]:
    """Load an append log after a kill: a last line without its newline was never finished and is cut off the file.

    Returns [] where the file does not exist or holds no finished line.
    """
    path = Path(path)
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return load_jsonl(path) if whole.strip() else []
