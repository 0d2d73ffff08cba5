"""A disk that fills up in each stage: the error must say where and how much, and the run must resume."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults.compare import broken_promises, differences
from faults.experiment import Experiment, stages_at_work
from faults.kill import Tally
from faults.processes import Process, Start, output_of, wait

SIZE_MIB = 48
# stage, path and bytes: after a failed write, and when the plan predicts one
FAILED = re.compile(r"l2s \w+: cannot write (\S+): No space left on device; .*\d bytes")
REFUSED = re.compile(r"l2s \w+: needs [\d,]+ bytes in (\S+) by the plan")


class MountError(Exception):
    """This user may not mount file systems."""


@contextmanager
def small_disk(folder: Path, size_mib: int = SIZE_MIB) -> Iterator[Path]:
    """A tmpfs at `folder`.

    Raises:
        MountError: mounting is not allowed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MountError(f"mounting a tmpfs is not allowed here: {getattr(error, 'stderr', error)}") from None
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Write a file that takes the free space on the disk of `folder`, except `leave` bytes."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        size = max(0, shutil.disk_usage(folder).free - leave)
        with suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, size)
        while not leave:  # the last bytes; other writers may have freed some meanwhile
            try:
                file.write(b"\0" * 4096)
            except OSError:
                break
    return filler


def fill_in_each_stage(folder: Path, unbroken: Experiment, start: Start, tally: Tally, stages: tuple[str, ...]) -> None:
    """Fill the disk when a stage has started, let the run fail, free the disk, and resume until the next stage."""
    experiment = Experiment(folder / "run", unbroken.flags, output=folder.with_name("output.txt")).create()
    for stage in stages:
        before = _printed(experiment)
        process = start(experiment)
        if not _wait_for_stage(experiment, stage, process):
            continue  # finished beside a stage that failed earlier
        filler = fill(folder)
        code = wait(process)
        filler.unlink()
        tally.tried += 1
        tally.stages.update([stage])
        said = _printed(experiment)[len(before) :]
        if code != 0 or "No space" in said:  # the stage had already written everything
            tally.lost += [f"{stage}: {line}" for line in _faults_of_message(code, said, folder)]
        tally.lost += [f"{stage}: {line}" for line in broken_promises(experiment.run_dir)]
    code = wait(start(experiment))
    if code != 0:
        tally.lost.append(f"with room again: status {code}; see {output_of(experiment)}")
    tally.lost += differences(experiment.run_dir, unbroken.run_dir)


def refuse_beforehand(folder: Path, start: Start, tally: Tally, unbroken: Experiment) -> None:
    """With less space than the plan needs, a stage does not start; with enough space the same command succeeds."""
    experiment = Experiment(folder / "run", unbroken.flags, output=folder.with_name("output.txt")).create()
    filler = fill(folder, leave=300_000)
    code = wait(start(experiment))
    filler.unlink()
    tally.tried += 1
    said = _printed(experiment)
    if code != 2 or not REFUSED.search(said):
        tally.lost.append(f"status {code}, and it does not say which stage needs how much: {said[-300:]}")
    if wait(start(experiment)) != 0:
        tally.lost.append(f"with room again it fails; see {output_of(experiment)}")
    tally.lost += differences(experiment.run_dir, unbroken.run_dir)


def _faults_of_message(code: int | None, said: str, folder: Path) -> list[str]:
    found = [] if code == 2 else [f"status {code} instead of 2"]
    match = FAILED.search(said) or REFUSED.search(said)
    if match is None:
        found.append(f"no line names stage, path and bytes: {said[-400:]!r}")
    if "Traceback" in said:
        found.append("a traceback is shown")
    return found


def _printed(experiment: Experiment) -> str:
    output = output_of(experiment)
    return output.read_text(errors="replace") if output.exists() else ""


def _wait_for_stage(experiment: Experiment, stage: str, process: Process) -> bool:
    begun = len(experiment.run_dir.log_file.read_bytes()) if experiment.run_dir.log_file.exists() else 0
    while process.poll() is None:
        log = experiment.run_dir.log_file
        if log.exists() and log.stat().st_size > begun and stage in stages_at_work(experiment.run_dir):
            return True
        time.sleep(0.005)
    return False
