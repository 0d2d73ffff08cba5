"""Reads the user's JSONL or parquet file: every row with its place in the file, for error messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from l2s.errors import UserError
from l2s.jsonl import Row
from l2s.tasks.own.strict_json import parse_json

PARQUET_MAGIC = b"PAR1"
BOM = b"\xef\xbb\xbf"
FIELDS = ("messages", "prompt", "id", "reference", "domain")
SHOWN = 60  # characters that an error shows of a wrong value


class Placed(NamedTuple):
    """A row and its place: "train.jsonl, line 7"."""

    place: str
    row: Row


def read_rows(field: str, path: Path) -> list[Placed]:
    """The rows of the file that the configuration field `field` names.

    Raises:
        UserError: the file does not exist, is empty or of another format, or has a broken line.
    """
    where = f"{field}={str(path)!r}"
    try:
        with path.open("rb") as file:
            is_parquet = file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
        rows = list(_parquet_rows(path, where) if is_parquet else _json_rows(path, where))
    except FileNotFoundError:
        raise UserError(f"{where}: there is no such file; give a JSONL or parquet file") from None
    except IsADirectoryError:
        raise UserError(f"{where}: is a folder; give the JSONL or parquet file in it") from None
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UserError(f"{where}: cannot be read ({reason}); give a file that can be") from None
    if not rows:
        raise UserError(f"{where}: the file holds no row; write one JSON object a line, with `messages` or `prompt`")
    return rows


def _json_rows(path: Path, where: str) -> Iterator[Placed]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.removeprefix(BOM) if number == 1 else line
            if line.strip():
                place = f"{where}, line {number}"
                yield Placed(place, _parse(line, place))


def _parse(line: bytes, place: str) -> Row:
    try:
        row = parse_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: not UTF-8 (byte {error.start + 1}); save the file as UTF-8") from None
    except ValueError as error:
        fix = "write one object a line, not an array" if line.lstrip()[:1] == b"[" else "repair or remove this line"
        raise UserError(f"{place}: not valid JSON ({error}); {fix}") from None
    if not isinstance(row, dict):
        what = f"found {type(row).__name__} {shown(row)}"
        raise UserError(f"{place}: expected a JSON object, {what}; write one object a line")
    return row


def _parquet_rows(path: Path, where: str) -> Iterator[Placed]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where}: cannot be read as parquet ({reason}); write the file again") from None
    if not {"messages", "prompt"} & set(table.column_names):
        columns = ", ".join(table.column_names)
        raise UserError(f"{where}: has the columns {columns}; it needs a column `messages` or `prompt`")
    for number, row in enumerate(table.to_pylist(), start=1):
        yield Placed(f"{where}, row {number}", {name: value for name, value in row.items() if value is not None})


def shown(value: Any) -> str:
    """A wrong value as errors show it: in quotes, and shortened."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
