"""Reads the user's JSONL or parquet file: every row with its place in the file, for error messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from l2s.errors import UserError, plain, shown_path, words_of
from l2s.jsonl import Row, each_row, require_file

PARQUET_MAGIC = b"PAR1"
FIELDS = ("messages", "prompt", "id", "reference", "domain")
BATCH_ROWS = 1024  # of a parquet file that are Python objects at a time
MOST_NAMES = 10  # that an error lists


class Placed(NamedTuple):
    """A row and its place: "train.jsonl, line 7"."""

    place: str
    row: Row


@dataclass(frozen=True)
class RowsOfFile:
    """The rows of the file that the configuration field `field` names, read each time they are asked for.

    Raises:
        UserError, while they are read: the file does not exist, is empty or of another format, or has a broken line.
    """

    field: str
    path: Path

    def __iter__(self) -> Iterator[Placed]:
        return _read(self.field, self.path)


def _read(field: str, path: Path) -> Iterator[Placed]:
    where = f"{field}={shown_path(path)}"
    try:
        require_file(path)
        with path.open("rb") as file:
            is_parquet = file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
        if is_parquet:
            yield from _parquet_rows(path, where)
            return
        for number, row in each_row(path, where):
            yield Placed(f"{where}, line {number}", row)
    except FileNotFoundError:
        raise UserError(f"{where}: there is no such file; give a JSONL or parquet file") from None
    except IsADirectoryError:
        raise UserError(f"{where}: is a folder; give the JSONL or parquet file in it") from None
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror}); give a readable file") from None
    except ValueError as error:
        raise UserError(str(error)) from None


def _parquet_rows(path: Path, where: str) -> Iterator[Placed]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{where}: cannot be read as parquet ({reason}); write the file again") from None
    if not {"messages", "prompt"} & set(table.column_names):
        columns = list_names(table.column_names)
        raise UserError(f"{where}: has the columns {columns}; it needs a column `messages` or `prompt`")
    if not table.num_rows:
        raise UserError(f"{where}: the file is empty, it holds no row")
    for number, row in enumerate(_python_rows(table, where), start=1):
        yield Placed(f"{where}, row {number}", {name: value for name, value in row.items() if value is not None})


def _python_rows(table: Any, where: str) -> Iterator[Row]:
    import pyarrow as pa

    for batch in table.to_batches(BATCH_ROWS):
        try:
            rows = batch.to_pylist()
        except (pa.ArrowException, ArithmeticError, LookupError, TypeError, ValueError) as error:
            fix = "leave that column out, or write it as text"
            raise UserError(f"{where}: a value does not exist in Python ({words_of(error)}); {fix}") from None
        yield from rows


def list_names(names: Sequence[str]) -> str:
    """The first names of fields or columns, as an error lists them."""
    listed = ", ".join(map(plain, names[:MOST_NAMES]))
    return f"{listed}, ..." if len(names) > MOST_NAMES else listed or "(none)"
