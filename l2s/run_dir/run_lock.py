"""The lock of a run folder: one run at a time; a second run is told who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from l2s.errors import UserError

PATIENCE_S = 10.0  # seconds for the stages of a killed run to end by themselves
LOOK_S = 0.2


@contextmanager
def hold(path: Path) -> Iterator[int]:
    """Lock the file `path` and yield its descriptor, which child processes inherit.

    The kernel releases the lock when the last process that holds it has ended, even if it was killed. So the lock of a
    dead run is free. Stages that outlive their run and still hold the lock get PATIENCE_S to end.

    Raises:
        UserError: another run holds it, or the file system has no locks.
    """
    with _open(path) as file:
        deadline = None
        while not _take(file, path):
            holder = _read(file)
            deadline = deadline or time.monotonic() + (PATIENCE_S if _has_ended(holder) else 0)
            if time.monotonic() >= deadline:
                raise UserError(_refusal(path, holder))
            time.sleep(LOOK_S)
        _write(file)
        yield file.fileno()


def _open(path: Path) -> IO[str]:
    try:
        # "w" would erase the holder's own entry
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        return os.fdopen(descriptor, "a+", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be opened ({error.strerror}); fix its permissions, or choose another --output_dir"
        ) from None


def _take(file: IO[str], path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(
            f"{path}: this file system has no locks ({error.strerror}), so two runs could mix their results; choose an "
            "--output_dir on another one"
        ) from None
    return True


def _write(file: IO[str]) -> None:
    holder = {
        "pid": os.getpid(),
        "started": _started(psutil.Process()),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": Path(sys.argv[0]).name,
    }
    if os.fstat(file.fileno()).st_nlink > 1:  # a file of somebody else's, or in a backup; the lock works all the same
        return
    with suppress(OSError):  # disk full; the lock works without the entry
        file.truncate(0)
        file.write(json.dumps(holder))
        file.flush()


def _started(process: psutil.Process) -> float:
    """When a process began, in seconds after the machine's start: the clock may have been set since."""
    return float(process.create_time() - psutil.boot_time())


def _read(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    try:
        return dict(json.loads(file.read()))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def _has_ended(holder: dict[str, Any]) -> bool:
    """Whether the run that took the lock was on this machine and has ended; its children may still run."""
    pid, started = holder.get("pid"), holder.get("started")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int) or not isinstance(started, int | float):
        return False
    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE or abs(_started(process) - started) > 1
    except (psutil.Error, ValueError, OverflowError):
        return True


def _refusal(path: Path, holder: dict[str, Any]) -> str:
    folder = path.parent
    who = ""
    if "pid" in holder:
        who = f" (process {holder['pid']} on {holder.get('host')}, since {holder.get('since')})"
    if _has_ended(holder):
        left = ", ".join(map(str, _holders(path))) or "unknown"
        who = f" (process {holder['pid']} has ended, but these that it started have not: {left})"
    return (
        f"experiment_name={folder.name!r}: another run is working in {folder}{who}; wait for it, end it, or choose "
        "another --experiment_name"
    )


def _holders(path: Path) -> list[int]:
    """The processes that have the lock file open, as far as they are visible, without this one."""
    wanted = path.stat()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            same = (link.stat() for link in (process / "fd").iterdir())
            if any((stat.st_dev, stat.st_ino) == (wanted.st_dev, wanted.st_ino) for stat in same):
                found.append(int(process.name))
    return sorted(set(found) - {os.getpid()})
