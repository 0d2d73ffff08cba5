"""The processes of sandboxed programs that are alive, to see that none outlives its run."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def workers() -> set[int]:
    """Processes that are a worker, were forked from one, or are the `sleep` that some programs start."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            command = entry.read_bytes()
            if b"import worker" in command or command == b"sleep\x001000\x00":
                found.add(int(entry.parent.name))
    return found


def gone(processes: set[int], *, within_s: float = 10) -> bool:
    """Whether all of `processes` end within a moment; other programs on this machine may also run a sandbox."""
    end = time.monotonic() + within_s
    while processes & workers():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
