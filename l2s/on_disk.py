"""Rows that stay on disk. Memory holds where each one begins, so millions of long answers fit any machine."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import TypeVar, overload

from l2s.durable import writing
from l2s.jsonl import Row, require_file, rows_of
from l2s.sealed import unseal

T = TypeVar("T")
NOWHERE = -1


class Made(Sequence[T]):
    """A sequence whose elements are made when they are asked for, by their number."""

    def __init__(self, length: int, make: Callable[[int], T]) -> None:
        self.length, self.make = length, make

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        numbers = range(self.length)[index]
        return [self.make(number) for number in numbers] if isinstance(numbers, range) else self.make(numbers)


def chosen(values: Sequence[T], numbers: Sequence[int]) -> Sequence[T]:
    """The values with these numbers, in this order, read when they are asked for."""
    return Made(len(numbers), lambda n: values[numbers[n]])


class Spilled(Made[T]):
    """Values in a file without a name in TMPDIR, which goes with the process. Memory: 8 bytes a value.

    Processes that are forked afterwards read it too.

    Raises:
        WriteError: the file does not fit there.
    """

    def __init__(self, values: Iterable[T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> None:
        self.file, self.starts, self.unpack = TemporaryFile(), array("q", [0]), unpack  # noqa: SIM115
        place = Path(gettempdir()) / "(unnamed)"
        for value in values:
            packed = pack(value)
            with writing(place, len(packed)):
                self.file.write(packed)
            self.starts.append(self.starts[-1] + len(packed))
        with writing(place):
            self.file.flush()
        super().__init__(len(self.starts) - 1, self._read)

    def _read(self, number: int) -> T:
        start, end = self.starts[number], self.starts[number + 1]
        return self.unpack(os.pread(self.file.fileno(), end - start, start))


def spilled_rows(rows: Iterable[T]) -> Spilled[T]:
    """Rows that JSON can hold, in a file without a name."""
    return Spilled(rows, lambda row: json.dumps(row).encode(), json.loads)


class RowsOnDisk(Made[Row]):
    """The rows of a JSON Lines file that nobody changes. Memory: 8 bytes a row.

    Raises:
        OSError: the file does not exist, or is a pipe or a device.
        ValueError: the file holds no row, or a row that is asked for is not a JSON object.
    """

    def __init__(self, path: Path) -> None:
        require_file(path)
        self.path = path
        self.starts, start = array("q"), 0
        with path.open("rb") as file:
            for line in file:
                if line.strip():
                    self.starts.append(start)
                start += len(line)
        if not self.starts:
            raise ValueError(f"{path}: the file is empty, it holds no row; write one JSON object a line")
        super().__init__(len(self.starts), self._read)

    def _read(self, number: int) -> Row:
        line = line_at(self.path, self.starts[number])
        return rows_of(line, f"{self.path}, at byte {self.starts[number]}", strict=False)[0][1]


class Ids:
    """The positions of ids in a sequence. Memory: 16 bytes an id; a dict of texts would take 170.

    Of equal ids the first counts.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        import numpy as np  # here: the settings are checked without it

        hashes = np.fromiter(map(_hash_of, ids), np.uint64)
        self.sequence_length = len(hashes)
        self.positions = hashes.argsort(kind="stable")
        self.hashes = hashes[self.positions]
        self.number = self.sequence_length - int((self.hashes[1:] == self.hashes[:-1]).sum())

    def __len__(self) -> int:
        """The number of different ids."""
        return self.number

    def repeated(self) -> list[tuple[int, int]]:
        """The position of each id that stood before, in order, with the position where it stood first."""
        import numpy as np

        begins = np.append(True, self.hashes[1:] != self.hashes[:-1])[: self.sequence_length]
        first = self.positions[begins][begins.cumsum() - 1]
        return sorted(zip(self.positions[~begins].tolist(), first[~begins].tolist(), strict=True))

    def position(self, id_: str) -> int:
        """The position of an id that is there."""
        found = self.find(id_)
        assert found is not None
        return found

    def find(self, id_: str) -> int | None:
        """The position of an id, or None. An unknown id is taken for a known one once in 10**13 times."""
        sought = self.hashes.dtype.type(_hash_of(id_))
        place = int(self.hashes.searchsorted(sought))
        return int(self.positions[place]) if place < len(self.hashes) and self.hashes[place] == sought else None

    def count(self, id_: str) -> int:
        """How often an id is in the sequence."""
        sought = self.hashes.dtype.type(_hash_of(id_))
        return int(self.hashes.searchsorted(sought, "right") - self.hashes.searchsorted(sought))


def _hash_of(id_: str) -> int:
    return int.from_bytes(hashlib.blake2b(id_.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


class SealedLogs(Mapping[str, T]):
    """Sealed rows in append logs, by the row's `id`. Memory: 10 bytes for each of `ids`.

    A line that is damaged or still being written does not count. Of two lines with one id, the one read later counts.
    """

    def __init__(self, ids: Ids, files: Callable[[], Sequence[Path]], read: Callable[[Row], T]) -> None:
        """`files` names the logs that are there; `read` makes a value of a row, and raises where the row is damaged."""
        self.ids, self.files, self.read = ids, files, read
        self.logs: list[Path] = []
        self.ends: dict[Path, tuple[int, int]] = {}  # of each log: its inode, and the bytes that were read
        self.log_numbers = array("H", bytes(2 * ids.sequence_length))
        self.starts = array("q", [NOWHERE]) * ids.sequence_length
        self.number = 0

    def look(self) -> None:
        """Read what was added to the logs since the last look."""
        for log in self.files():
            if log.is_file():
                self._read_on(log)

    @property
    def is_complete(self) -> bool:
        """Whether there is a row for each of `ids`."""
        return self.number == len(self.ids)

    def _read_on(self, log: Path) -> None:
        if log not in self.ends:
            self.logs.append(log)
        number, status = self.logs.index(log), log.stat()
        inode, start = self.ends.get(log, (status.st_ino, 0))
        if inode != status.st_ino or status.st_size < start:  # it was replaced
            start = 0
        for end, row in sealed_lines(log, start):
            if row is not None:
                self._note(row, number, start)
            start = end
        self.ends[log] = status.st_ino, start

    def _note(self, row: Row, log_number: int, start: int) -> None:
        try:
            position = self.ids.find(row["id"])
            self.read(row)
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        if position is not None:
            self.number += self.starts[position] == NOWHERE
            self.log_numbers[position], self.starts[position] = log_number, start

    def __contains__(self, id_: object) -> bool:
        position = self.ids.find(id_) if isinstance(id_, str) else None
        return position is not None and self.starts[position] != NOWHERE

    def __getitem__(self, id_: str) -> T:
        position = self.ids.find(id_)
        row = {} if position is None or self.starts[position] == NOWHERE else self._row_at(position)
        if row.get("id") != id_:
            raise KeyError(id_)
        return self.read(row)

    def _row_at(self, position: int) -> Row:
        log, start = self.logs[self.log_numbers[position]], self.starts[position]
        row = _row_of(line_at(log, start))
        if row is None:
            raise ValueError(f"{log}, at byte {start}: damaged since it was read; the same command resumes")
        return row

    def __iter__(self) -> Iterator[str]:
        positions = (position for position, start in enumerate(self.starts) if start != NOWHERE)
        return (str(self._row_at(position)["id"]) for position in positions)

    def __len__(self) -> int:
        return self.number


def sealed_lines(log: Path, start: int = 0) -> Iterator[tuple[int, Row | None]]:
    """The whole lines of a log from the byte `start` on: where each ends, and its row, or None where it is damaged."""
    with log.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):  # it is still being written
                return
            start += len(line)
            yield start, _row_of(line)


def _row_of(line: bytes) -> Row | None:
    try:
        return unseal(json.loads(line))
    except (ValueError, RecursionError):
        return None


def line_at(path: Path, start: int) -> bytes:
    """The line of a file that begins at a byte."""
    with path.open("rb") as file:
        file.seek(start)
        return file.readline()


def chunks(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """`numbers` in order, `size` at a time."""
    return (numbers[start : start + size] for start in range(0, len(numbers), size))
