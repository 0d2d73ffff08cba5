"""How many bytes files take, even while a stage removes some of them; and the folder in which a new file would be."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def bytes_in(path: Path) -> int:
    """Bytes of a file, or of all files in a folder and below; 0 where there is none. Links are not followed."""
    files = [path, *(Path(folder, name) for folder, _, names in os.walk(path) for name in names)]
    total = 0
    for file in files:
        with suppress(OSError):
            found = file.lstat()
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def existing_parent(folder: Path) -> Path:
    """`folder`, or its nearest parent that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
