"""Disk space: how much a stage needs by the plan, and the error when it runs out."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from l2s.config import ExperimentConfig
from l2s.disk_use import bytes_in, existing_parent
from l2s.durable import IN_THE_WAY, WriteError
from l2s.run_dir import RunDir
from l2s.runner.pipeline import Stage

MARGIN = 0.1  # estimates this close to the free space are accepted
FULL = (errno.ENOSPC, errno.EDQUOT)


def shortage(stage: Stage, config: ExperimentConfig, run_dir: RunDir, running: Iterable[Stage]) -> str | None:
    """The error if the disk has no room for `stage` beside what the `running` stages will still write."""
    needed = _still_needed(stage, config, run_dir)
    others = sum(_still_needed(other, config, run_dir) for other in running)
    free = free_bytes(run_dir.root)
    if needed * (1 - MARGIN) <= free - others:
        return None
    beside = f", of which running stages need {others:,.0f}" if others else ""
    return (
        f"needs {needed:,.0f} bytes in {run_dir.root} by the plan, and {free:,.0f} are free{beside}; free some space, "
        "and the same command resumes here"
    )


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
    try:
        stages = json.loads(run_dir.plan.read_text(encoding="utf-8"))["stages"]
        planned = float(stages[stage.name]["disk_bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
    there = {*stage.gives(run_dir, config), *stage.scratch(run_dir, config)}
    return max(0.0, planned - sum(bytes_in(path) for path in there if not there & set(path.parents)))
