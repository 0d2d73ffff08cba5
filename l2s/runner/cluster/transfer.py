"""Files between the run folder and a node's copy of it: in parts of bounded size, each checked by its sha256.

Small files and additions travel as data, through Ray's object store. With a storage (`--storage_path`), large files
travel through it. Nothing here imports Ray.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2s.durable import replacing_file
from l2s.errors import UserError, words_of

PART_BYTES = 16 << 20  # memory that a transfer takes at each end
GROWING = (".jsonl", ".log")  # files that are mostly appended to: what is there already is not sent again
OVERLAP = 256  # bytes before an addition that must be as they were

NO_FOLDER = re.compile(r"[a-z][a-z0-9+.-]*:(/?[^/].*|/*)", re.IGNORECASE)  # s3://, or s3:/bucket: it looks like a URL

Stamp = tuple[int, int, int]  # inode, bytes, time of change in ns


@dataclass(frozen=True)
class Part:
    """A piece of a file.

    Attributes:
        name: the file, relative to the run folder.
        start: where the data begin.
        data: at most PART_BYTES.
        sha256: of the data, or of the whole file where it lies in the storage.
        is_last: nothing follows.
        adds: it is added to the file as it is; else all parts together replace the file.
        key: where the whole file lies in the storage; `data` is empty then.
    """

    name: str
    start: int
    data: bytes
    sha256: str
    is_last: bool = True
    adds: bool = False
    key: str | None = None


def stamp(path: Path) -> Stamp:
    """Changes when the file does."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


class Hashes:
    """sha256 of files, each computed again only where its stamp has changed."""

    def __init__(self) -> None:
        self.known: dict[Path, tuple[Stamp, str]] = {}

    def of(self, path: Path) -> str:
        """sha256 of the file."""
        now = stamp(path)
        if path not in self.known or self.known[path][0] != now:
            with path.open("rb") as file:
                self.known[path] = now, hashlib.file_digest(file, "sha256").hexdigest()
        return self.known[path][1]


class Storage:
    """A folder or fsspec URL that every node reaches, such as s3://bucket/folder; files are named by their sha256.

    Args:
        url: where it is.
        name: of the run.
        least_bytes: smaller files do not travel through it.
        said: what `say` has written there, by which a node knows that it sees the same folder.
    """

    def __init__(self, url: str, name: str, least_bytes: int = PART_BYTES, said: str = "") -> None:
        self.folder, self.least_bytes, self.said = f"{url.rstrip('/')}/{name}.transfer", least_bytes, said.encode()
        if NO_FOLDER.fullmatch(url):
            raise UserError(f"storage_path={url!r}: a URL names a folder, such as s3://bucket/folder or file:///folder")
        try:
            from fsspec.core import url_to_fs

            self.files: Any = None
            self.files, self.root = url_to_fs(self.folder)
        except Exception as error:  # each file system has its own
            raise UserError(
                f"storage_path={url!r}: {words_of(error)}; give a folder, or install what this URL needs on every node"
            ) from None

    def check(self) -> None:
        """Write, read and remove a file.

        Raises:
            UserError: one of them fails.
        """
        key, bucket = f"{self.root}/probe-{os.getpid()}", self.root.partition("/")[0]
        try:
            if bucket and not self.files.exists(bucket):  # s3fs would make one
                raise FileNotFoundError(f"there is no bucket {bucket!r} that the credentials here can see")
            self.files.makedirs(self.root, exist_ok=True)
            self.files.pipe_file(key, b"l2s")
            found = self.files.cat_file(key)
            self.files.rm_file(key)
        except Exception as error:  # each file system has its own
            raise UserError(
                f"storage_path: {self.folder} cannot be used ({words_of(error)}); check the URL and your rights"
            ) from None
        if found != b"l2s":
            raise UserError(f"storage_path: {self.folder} does not give back what was written there")

    def say(self) -> None:
        """Write what the nodes must find."""
        self.files.pipe_file(f"{self.root}/said", self.said)

    def check_is_shared(self, node: str) -> None:
        """Check that this node finds what the driver has said.

        Raises:
            UserError: it does not.
        """
        try:
            found = self.files.cat_file(f"{self.root}/said") == self.said
        except OSError:
            found = False
        if not found:
            raise UserError(
                f"storage_path: {node} does not find in {self.folder} what the run wrote there; give a folder or URL "
                "that all nodes share"
            )

    def put(self, path: Path, sha256: str) -> str:
        """Store a file unless it is there, and return its key.

        Raises:
            FileNotFoundError: the file has been replaced or removed.
            UserError: the storage does not take it.
        """
        key = f"{self.root}/{sha256}"
        with self._at_work(path):
            if not self.files.exists(key):
                self.files.makedirs(self.root, exist_ok=True)
                own = f"{key}.{secrets.token_hex(4)}.partial"
                self.files.put_file(str(path), own)
                self.files.mv(own, key)
        return key

    def get(self, key: str, path: Path) -> None:
        """Copy a stored file to `path`.

        Raises:
            UserError: the storage does not give it, or it does not fit here.
        """
        with self._at_work():
            self.files.get_file(key, str(path))

    @contextmanager
    def _at_work(self, source: Path | None = None) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if isinstance(error, FileNotFoundError) and source and not source.exists():
                raise
            raise UserError(
                f"storage_path: {self.folder} failed ({words_of(error)}); make room there and on the nodes, or check "
                "your rights; the same command resumes"
            ) from None

    def remove(self, key: str) -> None:
        """Remove a stored file."""
        with self._at_work():
            self.files.rm_file(key)

    def clear(self) -> None:
        """Remove all that was stored for this run."""
        self.files.invalidate_cache()  # its lists of files do not have what nodes stored
        if self.files.exists(self.root):
            self.files.rm(self.root, recursive=True)


@dataclass(frozen=True)
class Change:
    """A file that is new from the byte `start` on; it had the stamp `now` when that was noticed."""

    name: str
    start: int
    now: Stamp

    @property
    def end(self) -> int:
        """Where its next transfer ends: an addition moves one part at a time."""
        return min(self.now[1], self.start + PART_BYTES) if self.start else self.now[1]


def whole(root: Path, name: str) -> Change:
    """All of a file, as it is now."""
    return Change(name, 0, stamp(root / name))


def read_parts(root: Path, change: Change, hashes: Hashes, storage: Storage | None) -> Iterator[Part]:
    """The parts of a change; a file that is replaced meanwhile is read to its end as it was."""
    path, name = root / change.name, change.name
    if storage and change.start == 0 and change.now[1] >= storage.least_bytes:
        sha256 = hashes.of(path)
        key = storage.put(path, sha256)
        if stamp(path) == change.now:
            yield Part(name, 0, b"", sha256, key=key)
            return
        storage.remove(key)  # it grew meanwhile, so what was stored may be longer than what the hash is of
    with path.open("rb") as file:
        file.seek(change.start)
        start = change.start
        while True:
            data = file.read(min(PART_BYTES, change.end - start))
            is_last = start + len(data) >= change.end or not data
            yield Part(name, start, data, hashlib.sha256(data).hexdigest(), is_last, adds=change.start > 0)
            if is_last:
                return
            start += len(data)


class Inbox:
    """Writes the parts that arrive for a folder."""

    def __init__(self, root: Path, storage: Storage | None) -> None:
        self.root, self.storage = root, storage

    def put(self, part: Part) -> None:
        """Write a part. A file is replaced once all its parts are there; one that grows is only ever added to.

        Raises:
            ValueError: a part is not what was sent, does not follow what is here, or leads out of the folder.
        """
        path = inside(self.root, part.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if part.key is not None:
            self._fetch(part, path)
            return
        if hashlib.sha256(part.data).hexdigest() != part.sha256:
            raise ValueError(f"{part.name}: damaged on its way, at byte {part.start}")
        if part.adds:
            self._write(path, part)
            return
        arriving = path.with_name(f".{path.name}.arriving.partial")
        if part.start == 0:
            arriving.write_bytes(b"")
        self._write(arriving, part)
        if part.is_last:
            arriving.replace(path)

    def _write(self, path: Path, part: Part) -> None:
        if path.stat().st_size < part.start:
            raise ValueError(f"{part.name}: a part before byte {part.start} is missing")
        with path.open("r+b") as file:
            file.seek(part.start)
            file.write(part.data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def _fetch(self, part: Part, path: Path) -> None:
        assert self.storage is not None
        assert part.key is not None
        if part.key != f"{self.storage.root}/{part.sha256}":
            raise ValueError(f"{part.name}: its place in the storage is another")
        with replacing_file(path) as partial:
            self.storage.get(part.key, partial)
            with partial.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != part.sha256:
                    raise ValueError(f"{part.name}: damaged in {self.storage.folder}")


class Watch:
    """Notices what changes in some files and folders under `root`, in the order in which it was written.

    Files named `.*.partial` are being written and do not count.
    """

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root, self.names = root, names
        self.seen: dict[str, Stamp] = {}
        self.ends: dict[str, bytes] = {}  # of files that grow: their last bytes when they were seen
        for name in files_under(root, names):
            self.sent(whole(root, name))

    def changes(self) -> tuple[list[Change], list[str]]:
        """Files that changed, and the names of those that are gone.

        A file that says that others are whole is written after them. The list of names is read before any of them is
        looked at, so where such a file is in it, the others are found whole.
        """
        names = files_under(self.root, self.names)
        now: dict[str, Stamp] = {}
        for name in names:
            with suppress(FileNotFoundError):
                now[name] = stamp(self.root / name)
        changed = sorted((name for name in now if self.seen.get(name) != now[name]), key=lambda name: now[name][2])
        gone = [name for name in self.seen if name not in now]
        for name in gone:
            del self.seen[name]
        return [Change(name, self._new_from(name, now[name]), now[name]) for name in changed], gone

    def sent(self, change: Change) -> None:
        """Take a change as known at the other end."""
        inode, _, changed = change.now
        self.seen[change.name] = inode, change.end, changed
        if change.name.endswith(GROWING):
            with suppress(FileNotFoundError), (self.root / change.name).open("rb") as file:
                file.seek(max(0, change.end - OVERLAP))
                self.ends[change.name] = file.read(min(change.end, OVERLAP))

    def _new_from(self, name: str, now: Stamp) -> int:
        """Where a file is new: at its end if it only grew, else from the start."""
        before, end = self.seen.get(name), self.ends.get(name, b"")
        if before is None or before[0] != now[0] or not end or before[1] > now[1]:
            return 0
        with (self.root / name).open("rb") as file:
            file.seek(before[1] - len(end))
            return before[1] if file.read(len(end)) == end else 0


def inside(root: Path, name: str) -> Path:
    """The path of a file that another machine names.

    Raises:
        ValueError: it is not below `root`.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts or not Path(name).parts or "\0" in name:
        raise ValueError(f"{name!r}: is not in the folder of the run")
    return root / name


def files_under(root: Path, names: list[str]) -> list[str]:
    """The files among `names` and in the folders among them, relative to `root`."""
    found = []
    for name in names:
        path = root / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            relative = file.relative_to(root)
            if file.is_file() and not any(is_partial(part) for part in relative.parts):
                found.append(str(relative))
    return list(dict.fromkeys(found))


def is_partial(name: str) -> bool:
    """Whether a file or folder is still being written, by its name (`l2s.durable.replacing_file`)."""
    return name.startswith(".") and name.endswith(".partial")
