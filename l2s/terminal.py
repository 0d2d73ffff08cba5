"""Output that cannot end a run, even if a terminal lacks a character or is gone; and libraries that print less.

Imports nothing from l2s.
"""

from __future__ import annotations

import codecs
import io
import logging
import os
import sys
import unicodedata
import warnings
from typing import Any, TextIO

ERRORS = "l2s.plain"  # name of the error handler for characters that an encoding lacks
RAISING = ("strict", "surrogateescape")  # Python's own handlers; in the C locale it is the second
PLAIN = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—―−─━", "-"),
        **dict.fromkeys("│┃", "|"),
        **dict.fromkeys("“”„«»", '"'),
        **dict.fromkeys("‘’‚", "'"),
        "⟨": "<", "⟩": ">",
        "…": "...", "→": "->", "←": "<-", "≥": ">=", "≤": "<=", "≈": "~", "×": "x", "·": ".", "•": "*", "±": "+-",
    }
)  # fmt: skip


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """ASCII replacements of the characters that an encoding lacks: the nearest ones, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    near = unicodedata.normalize("NFKD", error.object[error.start : error.end].translate(PLAIN))
    return "".join(c if c.isascii() else "?" for c in near if not unicodedata.combining(c)), error.end


codecs.register_error(ERRORS, _in_ascii)


def protect_output() -> None:
    """Make stdout and stderr of this process, and of processes that it starts, safe to write to.

    A descriptor that was closed from the start is opened on /dev/null, so that no file opened later takes its number.
    """
    for number in range(3):  # in this order: the lowest free number is taken
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper and _number_of(stream) == number:
            setattr(sys, name, _lasting(stream, number))
        elif stream is not None:
            take_any_character(stream)


def take_any_character(stream: TextIO | Any) -> None:
    """Let `stream` replace characters that its encoding lacks instead of raising an error."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors in RAISING:
        stream.reconfigure(errors=ERRORS)


def _number_of(stream: io.TextIOWrapper) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _lasting(stream: io.TextIOWrapper, number: int) -> io.TextIOWrapper:
    """A stream like `stream` that outlives its reader."""
    stream.flush()
    errors = ERRORS if stream.errors in RAISING else stream.errors
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(number)),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.line_buffering or stream.write_through,  # a buffer is below it that this one does not see
        write_through=stream.write_through,
    )


class _Descriptor(io.RawIOBase):
    """A file descriptor. If writing to it fails (reader gone, disk full), it is redirected to /dev/null."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """The descriptor's number."""
        return self._number

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
        return os.isatty(self._number)

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Any) -> int | None:
        """Write what can be written; after a failure, everything is dropped silently."""
        try:
            return os.write(self._number, data)
        except BlockingIOError:
            return None
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._number)  # C libraries and processes started later write there too
            os.close(null)
            return memoryview(data).nbytes


def quiet_libraries() -> None:
    """Hide progress bars and deprecation notes of libraries; stages report progress themselves."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of an optional kernel on the hub
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns where there is no home for its font list
    for library in ("transformers", "accelerate"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=library)
