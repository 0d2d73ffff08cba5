"""JSON Lines: read with line numbers in errors, append durably, write atomically. Imports nothing from l2s."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
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
    """Write `text` to a neighbour file, flush it to disk, and rename it over `path`."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


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
