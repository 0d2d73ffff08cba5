"""Links in the folder of an experiment that lead out of it: nothing is written or removed through them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from l2s.errors import UserError


def check_links(root: Path) -> None:
    """Refuse a folder with a link that leads out of it; the folder itself may be a link.

    Raises:
        UserError: names the link.
    """
    top = os.path.realpath(root)
    for link in _links_in(root):
        target = os.path.realpath(link)  # Path.resolve raises an error for a loop
        if os.path.commonpath([top, target]) != top or Path(target).is_symlink():  # or a loop
            raise UserError(
                f"{link}: a link that leads out of the experiment's folder, to {target}; nothing is written or "
                "removed there: remove the link, or move the whole folder and link that"
            )


def _links_in(folder: str | Path) -> Iterator[str]:
    """The links in a folder and below it; what they lead to is not looked into."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # missing, or not readable: whoever needs it will say so
        return
    for entry in entries:
        if entry.is_symlink():
            yield entry.path
        elif entry.is_dir():
            yield from _links_in(entry.path)
