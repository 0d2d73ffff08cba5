"""JSON Lines: read with line numbers in errors, append durably, write atomically."""

from __future__ import annotations

import codecs
import errno
import json
import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from l2s.durable import WriteError, flush, open_in_place, replacing_file, writing

Row = dict[str, Any]  # one JSON object; its fields are the caller's contract

SURROGATE = re.compile("[\ud800-\udfff]")  # half of a pair, which UTF-8 cannot hold
TAIL_BYTES = 1 << 16  # of a log that are read at a time
LONGEST_TEXT = 1_000_000  # characters of a field; more would take a tokenizer minutes, and fits no model here
OTHER_FORMATS = (  # UTF-32 before UTF-16, because its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "UTF-32 text; convert it, for example with `iconv -f UTF-32 -t UTF-8`"),
    (codecs.BOM_UTF32_BE, "UTF-32 text; convert it, for example with `iconv -f UTF-32 -t UTF-8`"),
    (codecs.BOM_UTF16_LE, "UTF-16 text; convert it, for example with `iconv -f UTF-16 -t UTF-8`"),
    (codecs.BOM_UTF16_BE, "UTF-16 text; convert it, for example with `iconv -f UTF-16 -t UTF-8`"),
    (b"\x1f\x8b", "gzip-compressed; unpack it"),
    (b"PK\x03\x04", "a zip archive; unpack it"),
    (b"PAR1", "a parquet file; write its rows as JSON Lines"),
    (b"version https://git-lfs", "a pointer of Git LFS; run `git lfs pull`"),
)
NAMES_OF_TYPES = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


def load_jsonl(path: str | Path) -> list[Row]:
    """Return the objects of a JSON Lines file, in order; see `numbered_rows`. NaN and Infinity are numbers here."""
    return [row for _, row in numbered_rows(path, strict=False)]


def require_file(path: str | Path) -> None:
    """Refuse a pipe, a socket or a device: who reads one may wait for ever, or until the memory is full.

    Raises:
        OSError: it is one, or there is nothing. A folder is left to whoever opens it.
    """
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def numbered_rows(path: str | Path, name: str | None = None, *, strict: bool = True) -> list[tuple[int, Row]]:
    """All rows of `each_row`."""
    return list(each_row(path, name, strict=strict))


def each_row(path: str | Path, name: str | None = None, *, strict: bool = True) -> Iterator[tuple[int, Row]]:
    """Objects of a JSON Lines file with their line numbers, one at a time; skips blank lines and a byte order mark.

    `name` is the name of the file in errors, if that is not its path. If `strict`, NaN and Infinity are no JSON.

    Raises:
        OSError: the file does not exist, or is a pipe or a device.
        ValueError: the file holds no row, is not UTF-8 text, or a line is not a JSON object; the message names the file
            and, where there is one, the line.
    """
    name = str(path) if name is None else name
    require_file(path)
    start = lines = found = 0
    with Path(path).open("rb") as file:
        for data in file:  # up to \n; lines may also end with \r
            check_text(data, name, "UTF-8 text with one JSON object a line", start, lines)
            for numbered in rows_of(data, name, lines, strict=strict):
                found += 1
                yield numbered
            start, lines = start + len(data), lines + len(data.splitlines())
    if not found:
        raise ValueError(f"{name}: the file is empty, it holds no row; write one JSON object a line")


def rows_of(data: bytes, name: str, before: int = 0, *, strict: bool = True) -> list[tuple[int, Row]]:
    """The objects of UTF-8 lines of JSON with their line numbers, after `before` lines; errors call the file `name`.

    Raises:
        ValueError: a line is not a JSON object.
    """
    text = data if before else data.removeprefix(codecs.BOM_UTF8)
    decoder = _STRICT if strict else _LENIENT
    return [
        (number, _parse(line, f"{name}, line {number}", decoder))
        for number, line in enumerate(text.splitlines(), start=before + 1)  # bytes: at \n, \r and \r\n alone
        if line.strip()
    ]


def check_text(data: bytes, name: str, expected: str, start: int = 0, before: int = 0) -> None:
    """Check that the content of the file `name` is UTF-8, with or without a byte order mark.

    `data` begins at the byte `start`, after `before` lines.

    Raises:
        ValueError: it is of another format or encoding; says which, where, and what to do.
    """
    for mark, kind in OTHER_FORMATS:
        if not start and data.startswith(mark):
            raise ValueError(f"{name}: this is {kind}; expected {expected}")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        number = before + len((data[: error.start] + b"x").splitlines())
        byte = f"the byte 0x{data[error.start]:02x} at offset {start + error.start} of the file"
        raise ValueError(
            f"{name}, line {number}: {byte} is not UTF-8; save the file as UTF-8, or remove this line"
        ) from None


def _parse(line: bytes, place: str, decoder: json.JSONDecoder) -> Row:
    if b"\0" in line:
        raise ValueError(f"{place}: holds a NUL byte; repair this line, or save the file as UTF-8 if it is UTF-16")
    if line.startswith(codecs.BOM_UTF8):
        raise ValueError(f"{place}: starts with a byte order mark, which joining files leaves; remove it")
    try:
        row = decoder.decode(line.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{place}: JSON nested too deeply; repair or remove this line") from None
    except ValueError as error:
        reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        reason = reason.partition("; use sys.")[0]  # Python's advice about numbers of thousands of digits
        ends = line.strip()[:1] + line.strip()[-1:]
        fix = "repair or remove this line" if ends == b"{}" else "write one whole JSON object a line"
        if ends[:1] == b"[":
            fix = "write one object a line, not an array"
        raise ValueError(f"{place}: not valid JSON ({reason}); {fix}") from None
    if not isinstance(row, dict):
        found = f"{type(row).__name__} {row!r:.60}"
        raise ValueError(f"{place}: expected a JSON object, found {found}; write one object a line")
    return row


def refuse_constant(name: str) -> NoReturn:
    """For the `parse_constant` of json: Python would read NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{name} is not a JSON value")


def _without_twins(pairs: list[tuple[str, Any]]) -> Row:
    """An object; of two values with one key Python would drop the first."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twin!r:.60} occurs twice in one object: keep one")
    return row


_STRICT = json.JSONDecoder(parse_constant=refuse_constant, object_pairs_hook=_without_twins)
_LENIENT = json.JSONDecoder(object_pairs_hook=_without_twins)


def checked_field(row: Row, name: str, kind: Any, place: str, *, missing: str = "") -> Any:
    """The field `name` of the row at `place` ("train.jsonl, line 7"), which must have the type `kind`.

    `missing` is the name of the field in the error for its absence.

    Raises:
        ValueError: the field is absent, of another type, or a text that no model can read; the message names place and
            field.
    """
    if name not in row:
        raise ValueError(f"{place}: the row has no field {missing or name!r}; add it, or remove this row")
    value = row[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = " or ".join(NAMES_OF_TYPES[one] for one in getattr(kind, "__args__", (kind,)))
        raise ValueError(f"{place}: the field {name!r} is {value!r:.60}, expected {wanted}; repair or remove this row")
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and (fault := fault_of(text)):
            raise ValueError(f"{place}: the field {name!r} {fault}, or remove this row")
    return value


def fault_of(text: str) -> str | None:
    """What makes a text unusable for tokenizers, programs and files, with the fix; None where nothing does."""
    if not any(map(_is_visible, text)):
        return "is empty; write a text"
    if "\0" in text:
        return "holds a NUL character; remove it"
    if SURROGATE.search(text):
        return "holds half of a surrogate pair, which no file can; remove it"
    if len(text) > LONGEST_TEXT:
        return f"has {len(text):,} characters, at most {LONGEST_TEXT:,} can be read; shorten it"
    return None


def _is_visible(character: str) -> bool:
    """Whether a character is more than space: marks of direction and byte order print nothing."""
    return not character.isspace() and unicodedata.category(character) != "Cf"


def dump_row(row: Mapping[str, Any]) -> str:
    """One row as one line of text, keys in the given order; see `dump_json`."""
    return dump_json(row) + "\n"


def dump_json(value: Any, *, indent: int | None = None) -> str:
    """JSON that every file and every reader takes, with non-ASCII characters readable.

    JSON has neither NaN nor infinity; both are written as null. Half of a surrogate pair is escaped.
    """
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        value = finite(value)
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return json.dumps(value, indent=indent) if SURROGATE.search(text) else text


def finite(value: Any) -> Any:
    """The same plain data with None in place of every NaN or infinite number."""
    if isinstance(value, Mapping):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def append_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append `rows` and return only when they are on disk, so that a kill loses none that was reported.

    Where they cannot be written (a full disk), the file is as before.
    """
    path = Path(path)
    data = "".join(dump_row(row) for row in rows).encode()
    with writing(path, len(data)), open_in_place(path, "ab") as file:
        before = file.tell()
        try:
            written = 0
            while written < len(data):
                written += file.write(data[written:])
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(before)
            raise
    if before == 0:
        flush(path.parent)


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows` atomically: a reader sees the old file or the complete new one."""
    with replacing_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(dump_row(row) for row in rows)


def recover_jsonl(path: str | Path) -> list[Row]:
    """Load an append log after a kill: a last line without a newline is unfinished and is cut off the file.

    Returns [] if the file does not exist or holds no finished line.
    """
    path = Path(path)
    if not path.exists():
        return []
    cut_unfinished_line(path)
    return load_jsonl(path) if path.exists() and path.read_bytes().strip() else []


def cut_unfinished_line(path: Path) -> None:
    """Cut a last line without its newline off an append log, if there is one.

    Raises:
        WriteError: a folder is in its place.
    """
    if path.is_dir():
        raise WriteError(errno.EISDIR, path)
    if not path.exists():
        return
    with open_in_place(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if (end := _end_of_lines(file, size)) < size:
            file.truncate(end)
            os.fsync(file.fileno())


def _end_of_lines(file: BinaryIO, size: int) -> int:
    """Where the last newline of a file ends; read from behind, because a log may be larger than the memory."""
    while size > 0:
        start = max(0, size - TAIL_BYTES)
        file.seek(start)
        if (newline := file.read(size - start).rfind(b"\n")) >= 0:
            return start + newline + 1
        size = start
    return 0
