"""Disk space: how much a stage needs by the plan, and the error when it runs out."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import gettempdir

from l2s.config import ExperimentConfig
from l2s.disk_use import bytes_in, existing_parent
from l2s.durable import IN_THE_WAY, WriteError
from l2s.run_dir import RunDir
from l2s.runner.pipeline import Stage

MARGIN = 0.1  # estimates this close to the free space are accepted
FULL = (errno.ENOSPC, errno.EDQUOT)


def shortage(stage: Stage, config: ExperimentConfig, run_dir: RunDir, running: Iterable[Stage]) -> str | None:
    """The error if a disk has no room for `stage` beside what the `running` stages will still write.

    Outputs go to the experiment's folder, the tokens of training sequences to TMPDIR; both may be on one disk.
    """
    root, temporary, beside = run_dir.root, Path(gettempdir()), list(running)

    def needed_on(disk: int, one: Stage) -> float:
        in_root = _still_needed(one, config, run_dir) if _disk_of(root) == disk else 0
        return in_root + (_planned(one, run_dir, "temporary_bytes") if _disk_of(temporary) == disk else 0)

    for folder, otherwise in ((root, ""), (temporary, " or set TMPDIR to another disk")):
        disk, free = _disk_of(folder), free_bytes(folder)
        needed, others = needed_on(disk, stage), sum(needed_on(disk, other) for other in beside)
        if needed * (1 - MARGIN) > free - others:
            of_others = f", of which running stages need {others:,.0f}" if others else ""
            return (
                f"needs {needed:,.0f} bytes in {folder} by the plan, and {free:,.0f} are free{of_others}; free some "
                f"space{otherwise}, and the same command resumes here"
            )
    return None


def _disk_of(folder: Path) -> int:
    return existing_parent(folder).stat().st_dev


def explain(error: WriteError, stage: Stage, config: ExperimentConfig, run_dir: RunDir) -> str:
    """One line for a stage that could not write: the path, the bytes it needs, and what to do."""
    needed = max(error.needed or 0, _still_needed(stage, config, run_dir))
    return _cannot_write(error, f"the stage needs {needed:,.0f} more bytes, " if needed else "")


def explain_run(error: WriteError) -> str:
    """The same if the run itself could not write."""
    return _cannot_write(error, f"{error.needed:,} bytes were to be written, " if error.needed else "")


def _cannot_write(error: WriteError, needed: str) -> str:
    if error.errno == errno.ELOOP:
        return (
            f"{error.filename}: a link, there or in a folder above, leads out of the experiment's folder; nothing was "
            "written through it: remove the link, and the same command resumes here"
        )
    if error.errno in IN_THE_WAY:
        found, wanted = ("file", "folder") if error.errno == errno.ENOTDIR else ("folder", "file")
        return (
            f"{error.filename}: a {found} is where a run makes a {wanted}; move it away, and the same command resumes "
            "here"
        )
    place = existing_parent(Path(error.filename))
    free, advice = f"{free_bytes(place):,.0f} bytes are free there", "make it writable"
    if error.errno in FULL:
        advice = "free some space (a quota may count files, too)" if error.errno == errno.EDQUOT else "free some space"
    if error.errno == errno.ENOSPC and _has_no_inode(place):
        free, advice = f"{free}, and no inode, which each file needs", "remove some files"
    return (
        f"cannot write {error.filename}: {error.strerror}; {needed}{free}; {advice}, and the same command resumes here"
    )


def _has_no_inode(place: Path) -> bool:
    """Whether a disk can take no further file; some file systems do not count them."""
    found = os.statvfs(place)
    return found.f_files > 0 and found.f_favail == 0


def free_bytes(path: Path) -> float:
    """Free bytes on the disk of `path`, which need not exist."""
    return shutil.disk_usage(existing_parent(path)).free


def _still_needed(stage: Stage, config: ExperimentConfig, run_dir: RunDir) -> float:
    """Bytes that `stage` still writes by the plan, without those that a killed one has written; 0 without a plan."""
    planned = _planned(stage, run_dir, "disk_bytes")
    there = {*stage.gives(run_dir, config), *stage.scratch(run_dir, config)}
    return max(0.0, planned - sum(bytes_in(path) for path in there if not there & set(path.parents)))


def _planned(stage: Stage, run_dir: RunDir, what: str) -> float:
    try:
        return float(json.loads(run_dir.plan.read_text(encoding="utf-8"))["stages"][stage.name][what])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
