"""What runs on a node for the whole of a run: it checks the node, and keeps its copy of the run folder.

An `Agent` is a Ray actor that takes no resources. Where the node sees the run folder itself, there is no copy.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import yaml

from l2s.config import ExperimentConfig, ModelField
from l2s.durable import remove, write_text_atomic
from l2s.errors import UserError
from l2s.run_dir import Manifest, RunDir, fingerprint
from l2s.runner.cluster.transfer import Change, Hashes, Inbox, Part, Storage, Watch, files_under, read_parts, whole
from l2s.runner.pipeline import stage_of

NODE_ID = re.compile(r"[0-9a-f]{12}")  # what `connect.join` takes of Ray's
ROOT = "@node-copy@"  # in settings: the folder of a node's copy
OUTSIDE = "outside"  # folder in it for inputs from elsewhere, such as a grader of the user's
LOCK_WAIT_S = 60.0  # what a killed run started ends by itself in seconds


class Agent:
    """One node of a run."""

    def __init__(self, name: str, node_id: str, base: str | None, run: str) -> None:
        """`base` is the folder of all copies; `node_id` and `run` name the one of this node and run."""
        self.name = name
        self.is_default = base is None
        self.base = Path(base or Path(tempfile.gettempdir(), f"l2s-{os.getuid()}"))
        self.root = self.base / node_id / run
        self.lock_file = self.base / node_id / f"{run}.lock"
        self.lock: IO[str] | None = None
        self.is_copy = True
        self.hashes = Hashes()
        self.storage: Storage | None = None
        self.watches: dict[str, Watch] = {}
        self.guard = threading.Lock()  # what another node wrote must not be taken for what this one wrote

    def ping(self) -> str:
        """The host's name."""
        return socket.gethostname()

    def sees(self, file: str, text: str) -> bool:
        """Whether this node finds `text` in `file`, as the driver wrote it there."""
        with suppress(OSError):
            return Path(file).read_text(encoding="utf-8") == text
        return False

    def open(self, run_folder: str | None, storage: tuple[str, str, int, str] | None) -> tuple[str, str]:
        """Take the run folder, or make a copy of it in this node's folder; returns where it is, and its lock.

        Raises:
            UserError: processes of an earlier run still work in it, or the storage cannot be used.
        """
        self._check_base()
        with self._alone_in_base():
            self._remove_left_copies()
            if run_folder is not None:
                self.root, self.is_copy = Path(run_folder), False
            try:
                self.lock_file.parent.mkdir(parents=True, exist_ok=True)
                self.root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"node_dir: {self.root} on {self.name} cannot be made ({error}); set --node_dir"
                ) from None
            self.lock = hold(self.lock_file)
        if storage:
            self.storage = Storage(*storage)
            self.storage.check()
            self.storage.check_is_shared(self.name)
        self.inbox = Inbox(self.root, self.storage)
        return str(self.root), str(self.lock_file)

    @contextmanager
    def _alone_in_base(self) -> Iterator[None]:
        """One agent of this machine at a time: another would remove a copy that is made and not locked yet."""
        folder = os.open(self.base, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _check_base(self) -> None:
        """Make the folder of the copies. The default one is in a folder that all users share, so it must be ours.

        Raises:
            UserError: somebody else made it, or it cannot be made.
        """
        try:
            self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.base.lstat()
        except OSError as error:
            raise UserError(f"node_dir: {self.base} on {self.name} cannot be made ({error}); set --node_dir") from None
        if self.is_default and (found.st_uid != os.getuid() or found.st_mode & 0o022 or self.base.is_symlink()):
            raise UserError(
                f"node_dir: {self.base} on {self.name} can be written to by another user; remove it, or set --node_dir"
            )

    def _remove_left_copies(self) -> None:
        """Remove copies that killed runs left on this machine, under any id that it had in a cluster.

        Nothing else in a folder that the user named is theirs.
        """
        for lock_file in self.base.glob("*/*.lock"):
            if not NODE_ID.fullmatch(lock_file.parent.name) or lock_file.parent.is_symlink():
                continue
            if lock_file == self.lock_file:  # of this run: what is whole is used again
                continue
            with lock_file.open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
                lock_file.unlink(missing_ok=True)
                with suppress(OSError):
                    lock_file.parent.rmdir()

    def close(self) -> None:
        """Remove the copy, unless processes of an earlier run still have it."""
        if self.lock is None:
            return
        if self.is_copy:
            shutil.rmtree(self.root, ignore_errors=True)
        self.lock_file.unlink(missing_ok=True)
        with suppress(OSError):  # another experiment may have its copy there
            self.lock_file.parent.rmdir()

    def model_versions(self, models: Mapping[ModelField, str]) -> dict[str, str | None]:
        """What each model is on this node: the fingerprint of a folder, the commit of a cached one; None: not here."""
        return {field: model_version(name) for field, name in models.items()}

    def has_folder(self, path: str) -> bool:
        """Whether this node has a folder."""
        return Path(path).is_dir()

    def fingerprints(self, paths: Sequence[str]) -> dict[str, str | None]:
        """The fingerprint of each file or folder on this node; None: not here."""
        return {path: fingerprint(Path(path)) if Path(path).exists() else None for path in paths}

    def why_unfit(self, config: ExperimentConfig, stages: Sequence[str]) -> str | None:
        """Why this node cannot run stages of these names, or None."""
        from l2s.runner.preflight import check_machine

        try:
            check_machine(config, [stage_of(name, config) for name in stages])
        except UserError as error:
            return str(error)
        return None

    def expect(self, stage: str, settings: Mapping[str, Any], files: Mapping[str, str], own: list[str]) -> list[str]:
        """Prepare the copy for a stage: what is there of `own` but not in `files` is removed.

        Args:
            stage: its name.
            settings: those of config.yaml, with ROOT where the folder of the copy belongs.
            files: sha256 of all that the stage reads or is resumed from.
            own: what it writes, and what is watched from now on.

        Returns:
            those of `files` that are missing here or differ.
        """
        run_dir = RunDir(self.root)
        remove(run_dir.manifest(stage))
        for name in files_under(self.root, own):
            if name not in files:
                remove(self.root / name)
        root = str(self.root)
        here = {
            name: value.replace(ROOT, root) if isinstance(value, str) else value for name, value in settings.items()
        }
        write_text_atomic(run_dir.config_file, yaml.safe_dump(here, sort_keys=False, allow_unicode=True))
        found = {name for name in files if (self.root / name).is_file()}
        return [
            name for name, sha256 in files.items() if name not in found or self.hashes.of(self.root / name) != sha256
        ]

    def put(self, part: Part) -> None:
        """Write a part of a file."""
        self.inbox.put(part)

    def pass_on(self, stage: str, part: Part) -> None:
        """Write a part of a file that another node of the stage writes."""
        with self.guard:
            self.inbox.put(part)
            if part.is_last:
                self.watches[stage].sent(whole(self.root, part.name))

    def watch(self, stage: str, names: list[str]) -> None:
        """Take what is there of `names` as known, and report what changes from now on."""
        self.watches[stage] = Watch(self.root, names)

    def changes(self, stage: str) -> tuple[list[Change], list[str]]:
        """Files of a stage that changed and that are gone; once it is done, it removes what it needs no more."""
        with self.guard:
            changed, gone = self.watches[stage].changes()
        return changed, [] if RunDir(self.root).manifest(stage).exists() else gone

    def parts(self, stage: str, change: Change) -> Iterator[Part]:
        """The parts of a change, which count as known once all are taken."""
        try:
            yield from read_parts(self.root, change, self.hashes, self.storage)
        except FileNotFoundError:  # replaced or removed since: the next look says so
            return
        self.watches[stage].sent(change)

    def sha256(self, names: list[str]) -> dict[str, str]:
        """sha256 of files that are here."""
        return {name: self.hashes.of(self.root / name) for name in names if (self.root / name).is_file()}

    def take_manifest(self, stage: str) -> Manifest | None:
        """The manifest that a stage left, if it did; the driver keeps it from now on."""
        path = RunDir(self.root).manifest(stage)
        found = Manifest.load(path)
        remove(path)
        return found


def hold(lock_file: Path) -> IO[str]:
    """Hold the lock of a node's copy, which every process that works in it shares.

    Raises:
        UserError: processes of an earlier run have it and do not end.
    """
    file = lock_file.open("a")
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise UserError(
                    f"{socket.gethostname()}: processes of an earlier run still work in {lock_file.with_suffix('')}; "
                    "end them, or wait for them"
                ) from None
            time.sleep(0.5)
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def share_lock(lock_file: Path) -> IO[str]:
    """The lock of a node's copy for a process of a stage: who holds it alone must wait for this process."""
    file = lock_file.open("a")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def model_version(name: str) -> str | None:
    """The fingerprint of a model's folder, or the commit of one in the hub's cache; None where weights are missing."""
    folder = Path(name)
    if folder.is_dir():
        return fingerprint(folder)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
        return None
    return snapshot.name if _is_whole(snapshot) else None


def _is_whole(snapshot: Path) -> bool:
    """Whether the weights that an index names, or any at all, are in the folder."""
    index = snapshot / "model.safetensors.index.json"
    if not index.exists():
        return any(snapshot.glob("*.safetensors")) or any(snapshot.glob("*.bin"))
    files: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    return all((snapshot / file).exists() for file in set(files.values()))
