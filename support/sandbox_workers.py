"""What tests of hostile programs share: helpers of the programs, and the processes that are alive after a run."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

# Comes before every hostile program, after the names of what it attacks.
HELPERS = """
import ctypes, os, re
libc = ctypes.CDLL(None, use_errno=True)
def found(text):
    hit = re.search("SECRET-[0-9a-f]{16}", text)
    return hit.group() if hit else None
def everywhere(data):
    for fd in range(64):
        try: os.write(fd, data)
        except OSError: pass
def frame(body): return len(body).to_bytes(4, "big") + body
"""


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
