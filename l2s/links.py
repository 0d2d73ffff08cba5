"""What may stand in the folder of an experiment: files, folders, and links that stay in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from l2s.errors import UserError


def check_links(root: Path) -> None:
    """Refuse a folder with a link that leads out of it, or with a pipe, a socket or a device.

    Nothing may be written or removed through such a link, and who opens a pipe may wait for ever. The folder itself may
    be a link.

    Raises:
        UserError: names the link, or what is no file.
    """
    top = os.path.realpath(root)
    for entry in _entries_in(root):
        if entry.is_symlink():
            _check_link(entry.path, top)
        elif not (entry.is_dir() or entry.is_file()) and os.path.lexists(entry.path):  # a stage may have removed it
            raise UserError(
                f"{entry.path}: a pipe, a socket or a device, where a run keeps files and folders alone; nothing is "
                "read from it or written to it: remove it"
            )


def _check_link(link: str, top: str) -> None:
    target = os.path.realpath(link)  # Path.resolve raises an error for a loop
    if os.path.commonpath([top, target]) != top or Path(target).is_symlink():  # or a loop
        raise UserError(
            f"{link}: a link that leads out of the experiment's folder, to {target}; nothing is written or "
            "removed there: remove the link, or move the whole folder and link that"
        )


def _entries_in(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """All that is in a folder and below it; what links lead to is not looked into."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # missing, or not readable: whoever needs it will say so
        return
    for entry in entries:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries_in(entry.path)
