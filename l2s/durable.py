"""Writes files and folders so that a kill or a crash leaves the old or the new one, never a part.

Imports nothing from l2s. Where something cannot be written, the error names the file. Nothing is written through a
link out of a guarded folder.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

WRITE_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ELOOP)
IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR)  # a file where a folder belongs, or a folder where a file does
TORCH_WRITE_FAILURES = ("PytorchStreamWriter failed", "inline_container.cc")  # torch.save gives no reason


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write `text` atomically: a reader sees the old file or the complete new one."""
    with replacing_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def replacing_file(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path`; the file or link written there replaces `path` once it is whole and on disk.

    Several processes may do so at once: the last one wins. If the block raises, `path` stays as it is.

    Raises:
        WriteError: a folder is there, or it cannot be written; see `writing`.
    """
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        raise WriteError(errno.EISDIR, path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with writing(path):
            partial.unlink(missing_ok=True)
            yield partial
            if not partial.is_symlink():
                flush(partial)
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    flush(path.parent)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes of this machine have left of `replacing_file` anywhere in `folder`."""
    for path in folder.rglob(".*.partial"):
        process = path.name.split(".")[-2]
        if process.isdecimal() and not _is_alive(int(process)):
            remove(path)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True


@contextmanager
def replacing_folder(path: Path, *, keep_former: bool = False) -> Iterator[Path]:
    """Yield a path beside `path`; the folder written there replaces `path` once it is whole and on disk.

    For one process at a time. A reader sees the old folder, for a moment none, or the whole new one. What a killed
    process left there is removed first. With `keep_former` the old folder stays, at `former_of(path)`.
    """
    partial, former = path.with_name(f".{path.name}.partial"), former_of(path)
    remove(partial)
    remove(former)
    make_folder(path.parent)
    try:
        with writing(path):
            yield partial
            for part in [partial, *partial.rglob("*")]:
                flush(part)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # room for another try
        raise
    if os.path.lexists(path):
        path.rename(former)
    partial.rename(path)
    flush(path.parent)
    if not keep_former:
        remove(former)


def former_of(path: Path) -> Path:
    """Where `replacing_folder` puts the old folder; after a kill between two renames it is the only one."""
    return path.with_name(f".{path.name}.former")


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, so that they are on disk: a file in a folder that is lost is lost as well.

    Raises:
        WriteError: a file is in the way.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        in_the_way = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
        raise WriteError(errno.ENOTDIR, in_the_way) from None
    for folder in missing:
        flush(folder.parent)


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on disk; some file systems cannot do so for a folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP, errno.EACCES)):
            raise


class WriteError(OSError):
    """Nothing more can be written; `errno`, `strerror` and `filename` are those of OSError.

    Attributes:
        needed: bytes that were to be written, where that is known.
    """

    def __init__(self, number: int, path: str | Path, needed: int | None = None) -> None:
        super().__init__(number, os.strerror(number), str(path))
        self.needed = needed


@contextmanager
def writing(path: str | Path, needed: int | None = None) -> Iterator[None]:
    """Name `path` where writing it in this block fails: most libraries do not say which file they could not write.

    Raises:
        WriteError: the disk is full, a quota is used up, or the like; or a link leads out of a guarded folder.
    """
    try:
        _check_way(Path(path))
        yield
    except Exception as error:
        failure = as_write_error(error, path, needed)
        if failure is None or failure is error:
            raise
        raise failure from error


_guarded: dict[str, str] = {}  # absolute path of a folder -> where it is


def guard(folder: Path) -> None:
    """From now on, nothing below `folder` is written through a link that leads out of it, whenever that was made."""
    _guarded[str(folder.absolute())] = os.path.realpath(folder)


def _check_way(path: Path) -> None:
    parent = str(path.parent.absolute())
    for folder, place in _guarded.items():
        if os.path.commonpath([folder, parent]) == folder:
            found = os.path.realpath(parent)
            if os.path.commonpath([place, found]) != place:
                raise WriteError(errno.ELOOP, path)


def open_in_place(path: Path, mode: str) -> BinaryIO:
    """Open a file that is changed in place: it must be no link, and a hard link first becomes a file of its own.

    So its other names keep what they hold: a copy that `cp -al` made of the folder, or a file that is not ours.

    Raises:
        WriteError: it is a link or a folder, or this user may not write to it.
    """
    if path.is_symlink():
        raise WriteError(errno.ELOOP, path)
    if path.exists() and path.stat().st_nlink > 1:
        with replacing_file(path) as partial:
            shutil.copy2(path, partial)
    try:
        return cast(BinaryIO, open(path, mode, buffering=0, opener=_open_no_link))
    except (PermissionError, IsADirectoryError) as error:
        raise WriteError(cast(int, error.errno), path) from None


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def as_write_error(error: Exception, path: str | Path, needed: int | None = None) -> WriteError | None:
    """`error` as a WriteError, at `path` where it names no file itself; None where it is something else."""
    if isinstance(error, WriteError):
        return error
    number = _write_failure(error)
    return None if number is None else WriteError(number, getattr(error, "filename", None) or path, needed)


def _write_failure(error: Exception) -> int | None:
    """The errno of a failure to write, by a library that raises OSError or another (safetensors, tokenizers, torch)."""
    if isinstance(error, OSError):
        refused = error.errno in (errno.EACCES, errno.EPERM) and _is_read_only(error.filename)
        return error.errno if refused or error.errno in WRITE_FAILURES else None
    text = str(error)
    if found := re.search(r"\(os error (\d+)\)", text):
        return int(found[1]) if int(found[1]) in WRITE_FAILURES else None
    return errno.ENOSPC if any(words in text for words in TORCH_WRITE_FAILURES) else None


def _is_read_only(name: Any) -> bool:
    """Whether this user may read a file, or the folder that it would be in, and not write to it."""
    if not isinstance(name, str | os.PathLike):
        return False
    nearest = next(path for path in (Path(name).absolute(), *Path(name).absolute().parents) if path.exists())
    return os.access(nearest, os.R_OK) and not os.access(nearest, os.W_OK)
