"""The exception for errors that a user can fix: what is wrong, with which value, and what to do."""

from __future__ import annotations

import reprlib
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

SHOWN = 60  # characters that an error shows of a wrong value
SHOWN_OF_PATH = 255  # of a path, which is of use only as a whole


class UserError(ValueError):
    """A problem the user can fix. The command line prints its message as one line and exits with 2."""


def require_extra(package: str, extra: str, purpose: str) -> None:
    """Require the packages of an optional extra before anything starts; nothing is imported.

    Raises:
        UserError: a package is missing; says how to install it.
    """
    if find_spec(package) is None:
        raise UserError(
            f"{purpose} needs {package}, which is not installed; run `pip install -c constraints.txt '.[{extra}]'`"
        )


class _Short(reprlib.Repr):
    """Looks only at the first parts of a value: the whole of a few nested anchors in YAML would fill the memory."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 4
        self.maxother = SHOWN

    def repr_str(self, x: str, level: int) -> str:
        """The start of a text."""
        return repr(x[: SHOWN + 1])

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """The first keys, in their order."""
        if level <= 0 < len(x):
            return "{...}"
        pairs = [f"{self.repr1(k, level - 1)}: {self.repr1(x[k], level - 1)}" for k in islice(x, self.maxdict)]
        return "{" + ", ".join(pairs + ["..."] * (len(x) > self.maxdict)) + "}"

    def repr_int(self, x: int, level: int) -> str:
        """A whole number, if it can be written down: Python converts no more than 4,300 digits."""
        return repr(x) if abs(x) < 10**SHOWN else f"a number of {x.bit_length():,} bits"


def shown(value: Any) -> str:
    """A wrong value as errors show it: in quotes, on one line, and shortened."""
    return _cut(_Short().repr(value), SHOWN)


def plain(name: str) -> str:
    """A name as errors show it: without quotes where it is short and printable."""
    return name if name.isprintable() and 0 < len(name) <= SHOWN else shown(name)


def shown_path(path: str | Path) -> str:
    """A path as errors show it: in quotes, on one line, and shortened only where no file system takes it."""
    return _cut(repr(str(path)), SHOWN_OF_PATH)


def plain_path(path: str | Path) -> str:
    """A path as errors show it: without quotes where it is printable and no longer than file systems take."""
    name = str(path)
    return name if name.isprintable() and len(name) <= SHOWN_OF_PATH else shown_path(name)


def field_with_url(field: str, url: str) -> str:
    """A setting with its URL as errors name it: the setting alone where the URL may hold a password or key."""
    return field if "@" in url or "?" in url else f"{field}={url!r}"


def no_permission(error: PermissionError) -> str:
    """One line for a file or folder that this user may not use."""
    name = plain_path(error.filename) if isinstance(error.filename, str | Path) else "a file"
    return f"{name}: {error.strerror or 'permission denied'}; give this user the right to it, and repeat the command"


def words_of(error: BaseException) -> str:
    """What the exception of a library says, on one line and shortened; its type if it says nothing."""
    return _cut(" ".join(str(error).split()) or type(error).__name__, SHOWN_OF_PATH)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
