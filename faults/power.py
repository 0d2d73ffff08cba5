"""Power loss: what is called durable must survive a crash of the machine.

An unbroken run is recorded: every change of a file or folder, and every fsync (`journal.c`). The journal is replayed up
to a moment, and a disk is written that may be left of a machine that crashes then (`disk_model.py`). At every moment
the promises are checked; from some of the disks the same command resumes, and must give what the unbroken run gave.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults.compare import broken_promises, differences
from faults.disk_model import Disk, File, Folder, everything, nothing_more, some
from faults.experiment import NAME, Experiment
from faults.forked import ForkServer
from faults.journal import Op, Record, open_journal
from faults.kill import Tally
from faults.processes import Start, output_of, start_forked, wait
from l2s.errors import UserError
from l2s.run_dir import RunDir
from l2s.signals.store import SignalIndex, hash_file
from l2s.training.checkpoints import SEAL, checkpoints_in, is_whole, step_of

RUNS = "outputs"


@dataclass(frozen=True)
class Recorded:
    """An unbroken experiment and the journal of its run; `before` is its folder before that."""

    experiment: Experiment
    before: Path
    records: list[Record]

    def disk(self) -> Disk:
        """The disk before the run. Its inodes are those of the recorded folder."""
        disk = Disk(self.before)
        disk.inodes = dict(_same_inodes(disk, self.before, self.experiment.folder))
        return disk


def _same_inodes(disk: Disk, before: Path, folder: Path) -> Iterator[tuple[int, File | Folder]]:
    """Names of the disk by the inodes in `folder`: the run changes no file that was there before it."""
    yield folder.stat().st_ino, disk.root
    for path, node in disk.now():
        if isinstance(node, File | Folder):
            yield (folder / path).lstat().st_ino, node


@contextmanager
def recording(folder: Path, flags: tuple[str, ...]) -> Iterator[tuple[Recorded, Start]]:
    """Run an experiment in `folder`/run under the journal, and give what starts further runs of it elsewhere.

    Raises:
        NoCompilerError: the journal's library cannot be built.
    """
    experiment = Experiment(folder / "run", flags, output=folder / "recorded.txt")
    journal = open_journal(experiment.folder, folder / "journal")
    experiment.create()
    before = folder / "before"
    shutil.copytree(experiment.folder, before, symlinks=True)
    server = ForkServer(journal.environment)
    try:
        start = start_forked(server)
        if (code := wait(start(experiment))) != 0:
            raise RuntimeError(f"the recorded run ended with status {code}: see {output_of(experiment)}")
        yield Recorded(experiment, before, list(journal.records())), start
    finally:
        server.close()


def faults_of_recording(recorded: Recorded) -> list[str]:
    """Differences between the folder and all changes replayed: what the journal has not seen."""
    disk = recorded.disk()
    for one in recorded.records:
        disk.apply(one)
    now = dict(disk.now())
    real = {str(path.relative_to(recorded.experiment.folder)): path for path in recorded.experiment.folder.rglob("*")}
    found = [f"{path} is only in one of journal and folder" for path in sorted(now.keys() ^ real.keys())]
    for path in sorted(now.keys() & real.keys()):
        node = now[path]
        if isinstance(node, File) and node.now != real[path].read_bytes():
            found.append(f"{path}: its writes are not all in the journal")
    return found


@dataclass
class Promises:
    """What the run had said to be done, at a moment of the recorded run."""

    ended: set[str] = field(default_factory=set)  # stages, by log.jsonl
    rows: dict[str, tuple[File, bytes]] = field(default_factory=dict)  # appended rows of a file, by its path
    _flushed: dict[int, tuple[str, File, bytes]] = field(default_factory=dict)  # by process that may still be flushing

    def follow(self, one: Record, disk: Disk) -> None:
        """Note what a change promises, after it was made.

        A process promises appended rows once it does something else: until then it may be flushing their folder.
        """
        node = disk.inodes.get(one.inode)
        if one.op is Op.FSYNC and isinstance(node, Folder):
            return
        if one.pid in self._flushed:
            path, file, rows = self._flushed.pop(one.pid)
            self.rows[path] = (file, rows)
            if path == f"{RUNS}/{NAME}/log.jsonl":
                self.ended = {str(event["stage"]) for event in events_in(rows) if event["event"] == "stage_end"}
        if one.op is Op.FSYNC and isinstance(node, File):
            path = disk.path_of(node)
            if path.endswith(".jsonl") and "/." not in path and "/checkpoints/" not in path:  # a log, not a copy
                self._flushed[one.pid] = (path, node, node.flushed)

    def broken(self, disk: Disk, crashed: Path) -> list[str]:
        """Promises that do not hold on the crashed disk."""
        run_dir = RunDir(crashed / RUNS / NAME)
        found = [f"{stage} had ended, and its manifest is lost" for stage in self.ended if not _has(run_dir, stage)]
        for path, (file, rows) in self.rows.items():
            if disk.find(path) is not file:
                continue  # replaced or removed since
            left = crashed / path
            if not left.exists() or not left.read_bytes().startswith(rows):
                found.append(f"{path}: rows are lost that were on disk")
        return found


def events_in(rows: bytes) -> list[dict[str, object]]:
    """The events in the bytes of a log."""
    return [json.loads(line) for line in rows.splitlines()]


def _has(run_dir: RunDir, stage: str) -> bool:
    return run_dir.manifest(stage).exists()


def false_claims(run_dir: RunDir) -> list[str]:
    """Manifests, seals and indexes that name a file whose bytes are not there, or are damaged themselves."""
    try:
        return [*broken_promises(run_dir), *_false_seals(run_dir), *_false_indexes(run_dir)]
    except UserError as error:
        return [str(error)]


def _false_seals(run_dir: RunDir) -> Iterator[str]:
    for seal in run_dir.root.glob(f"*/checkpoints/*/{SEAL}"):
        newer = [one for one in checkpoints_in(seal.parent.parent) if step_of(one) > step_of(seal.parent)]
        needless = run_dir.manifest(seal.parents[2].name).exists() or any(is_whole(one) for one in newer)
        if not needless and not is_whole(seal.parent):  # what is not needed any more is removed file by file
            yield f"{seal.relative_to(run_dir.root)} names files that are not there"


def _false_indexes(run_dir: RunDir) -> Iterator[str]:
    for index in run_dir.root.glob("*/teacher_signals/index.json"):
        claimed = SignalIndex.load(index.parent)
        files = {shard.file: shard.sha256 for shard in claimed.shards} | {"shared.safetensors": claimed.shared_sha256}
        for name, sha256 in files.items():
            file = index.parent / name
            if not file.exists() or hash_file(file) != sha256:
                yield f"{index.relative_to(run_dir.root)} names {name}, which is not there"


def crash_points(records: list[Record], number: int) -> list[int]:
    """About `number` moments of the run, spread evenly over its changes: how many of them were made."""
    step = max(1, len(records) // number)
    return list(range(step, len(records) + 1, step))


def check_promises(recorded: Recorded, folder: Path, moments: int, tally: Tally, rng: random.Random) -> None:
    """Crash at `moments` moments, and look for what was promised on the least disk and on one with some more."""
    for at, disk, promises in _crashes(recorded, crash_points(recorded.records, moments)):
        for name, chance in (("least", nothing_more), ("some", some(rng))):
            crashed = folder / "crashed"
            disk.after_crash(crashed, chance)
            tally.tried += 1
            faults = promises.broken(disk, crashed) + false_claims(RunDir(crashed / RUNS / NAME))
            tally.lost += [f"after change {at} ({name}): {fault}" for fault in faults]
            shutil.rmtree(crashed)


def resume_from_crashes(
    recorded: Recorded, start: Start, folder: Path, moments: int, tally: Tally, rng: random.Random
) -> None:
    """Crash at `moments` random moments, resume with the same command, and compare with the unbroken run."""
    for at, disk, _ in _crashes(recorded, sorted(rng.sample(range(1, len(recorded.records)), moments))):
        name, chance = rng.choice(
            [("least", nothing_more), ("some", some(rng)), ("some", some(rng)), ("everything", everything)]
        )
        experiment = Experiment(folder / f"{at}-{name}", recorded.experiment.flags, output=folder / f"{at}-{name}.txt")
        disk.after_crash(experiment.folder, chance)
        code = wait(start(experiment))
        tally.tried += 1
        faults = [] if code == 0 else [f"status {code}; see {output_of(experiment)}"]
        faults += differences(experiment.run_dir, recorded.experiment.run_dir)
        tally.lost += [f"after change {at} ({name}): {fault}" for fault in faults]
        if not faults:
            shutil.rmtree(experiment.folder)


def _crashes(recorded: Recorded, moments: list[int]) -> Iterator[tuple[int, Disk, Promises]]:
    """The disk and what was promised, after each of these numbers of changes."""
    disk, promises, wanted = recorded.disk(), Promises(), set(moments)
    for number, one in enumerate(recorded.records, 1):
        disk.apply(one)
        promises.follow(one, disk)
        if number in wanted:
            yield number, disk, promises
