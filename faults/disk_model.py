"""What a disk may hold after a crash of the machine: a model of files and folders that forgets what was not flushed.

Two kinds of things are remembered for certain: the content of a file at its last fsync, and the names in a folder at
the last fsync of that folder. Every later change may have reached the disk or not, each by itself and in any order: a
write block by block, a rename as a whole. Real file systems promise more, and POSIX no more than this.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from faults.journal import Op, Record

BLOCK = 4096  # bytes that reach the disk together

Chance = Callable[[], bool]  # whether a change that was not flushed is on the disk


@dataclass(eq=False)
class File:
    """A file: its content now, at the last fsync, and the changes since."""

    now: bytearray = field(default_factory=bytearray)
    flushed: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)  # a write, or a new length

    def write(self, offset: int, data: bytes) -> None:
        """Change the content from `offset` on."""
        _patch(self.now, offset, data)
        self.since.append((offset, data))

    def truncate(self, length: int) -> None:
        """Cut or extend the content."""
        _resize(self.now, length)
        self.since.append((length, None))

    def flush(self) -> None:
        """Make the content durable."""
        self.flushed, self.since = bytes(self.now), []

    def after_crash(self, chance: Chance) -> bytes:
        """A content that the disk may hold."""
        found = bytearray(self.flushed)
        for offset, data in self.since:
            if data is None:
                if chance():
                    _resize(found, offset)
                continue
            for place, block in _blocks(offset, data):
                if chance():
                    _patch(found, place, block)
        return bytes(found)


@dataclass(eq=False)
class Link:
    """A symbolic link, which is on disk with its name."""

    target: str


@dataclass(eq=False)
class Folder:
    """A folder: its names now, and those that are durable with the number of the change that set them."""

    now: dict[str, Node] = field(default_factory=dict)
    flushed: dict[str, tuple[int, Node | None]] = field(default_factory=dict)


Node: TypeAlias = File | Link | Folder
Naming = list[tuple[Folder, str, Node | None]]  # what one change sets: a name of a folder to a node, or to nothing


class Disk:
    """A folder with all changes so far; it starts with what is in `root`, durable."""

    def __init__(self, root: Path) -> None:
        self.inodes: dict[int, Node] = {}
        self.pending: dict[int, Naming] = {}  # changes of names that are not durable, by number
        self.number = 0
        self.places: dict[Node, tuple[Folder, str]] = {}
        found = self._read(root)
        assert isinstance(found, Folder)
        self.root = found

    def _read(self, path: Path) -> Node:
        node: Node
        if path.is_symlink():
            node = Link(str(path.readlink()))
        elif path.is_dir():
            names = {entry.name: self._read(entry) for entry in path.iterdir()}
            node = Folder(names, {name: (0, child) for name, child in names.items()})
        else:
            data = path.read_bytes()
            node = File(bytearray(data), data)
        if isinstance(node, Folder):
            self.places |= {child: (node, name) for name, child in node.now.items()}
        self.inodes[path.lstat().st_ino] = node
        return node

    def apply(self, record: Record) -> None:
        """Make one change.

        Raises:
            ValueError: the journal cannot follow it.
        """
        if record.op is Op.UNKNOWN:
            raise ValueError(f"the journal cannot follow {record.path} {record.path2}")
        if record.op in (Op.WRITE, Op.TRUNCATE, Op.FSYNC):
            self._catch_up(record)
        node = self.inodes.get(record.inode)
        if record.op is Op.WRITE and isinstance(node, File):
            node.write(record.offset, record.data)
        elif record.op is Op.TRUNCATE and isinstance(node, File):
            node.truncate(record.offset)
        elif record.op is Op.FSYNC and isinstance(node, File):
            node.flush()
        elif record.op is Op.FSYNC and isinstance(node, Folder):
            self._catch_up_names(node, record.data)
            self._flush_names(node)
        elif record.op not in (Op.WRITE, Op.TRUNCATE, Op.FSYNC):
            self._name(record)

    def _catch_up(self, record: Record) -> None:
        """Make or rename the file of `record` where the journal has not seen how it came to its path."""
        if record.path.endswith(" (deleted)") or record.path.startswith("/"):
            return
        folder, name = self._place(record.path)
        node = self.inodes.get(record.inode)
        if node is None or node not in self.places:
            self.inodes[record.inode] = made = File()
            self._set([(folder, name, made)])
        elif self.places[node] != (folder, name):
            self._set([(*self.places[node], None), (folder, name, node)])

    def _catch_up_names(self, folder: Folder, entries: bytes) -> None:
        """Rename in `folder` what the journal has not seen renamed; `entries` are the names that it has."""
        for entry in entries.split(b"\0")[:-1]:
            inode, _, name = entry.decode().partition(" ")
            node = self.inodes.get(int(inode))
            if node is not None and folder.now.get(name) is not node and node in self.places:
                self._set([(*self.places[node], None), (folder, name, node)])

    def _name(self, record: Record) -> None:
        folder, name = self._place(record.path)
        if record.op is Op.REMOVE:
            self._set([(folder, name, None)])
        elif record.op is Op.RENAME:
            moved = folder.now[name]
            self._set([(folder, name, None), (*self._place(record.path2), moved)])
        elif record.op is Op.LINK:
            self._set([(folder, name, self.inodes[record.inode])])
        else:
            made: Node = {Op.CREATE: File, Op.MKDIR: Folder}.get(record.op, lambda: Link(record.path2))()
            self.inodes[record.inode] = made
            self._set([(folder, name, made)])

    def _set(self, naming: Naming) -> None:
        self.number += 1
        self.pending[self.number] = naming
        for folder, name, node in naming:
            before = folder.now.pop(name, None)
            if before is not None and self.places.get(before) == (folder, name):
                del self.places[before]
            if node is not None:
                folder.now[name] = node
                self.places[node] = (folder, name)

    def _flush_names(self, flushed: Folder) -> None:
        for number, naming in list(self.pending.items()):
            if any(folder is flushed for folder, _, _ in naming):
                for folder, name, node in naming:
                    _keep_newest(folder.flushed, name, number, node)
                del self.pending[number]

    def _place(self, path: str) -> tuple[Folder, str]:
        *parents, name = path.split("/")
        folder = self.root
        for parent in parents:
            found = folder.now[parent]
            assert isinstance(found, Folder)
            folder = found
        return folder, name

    def path_of(self, node: Node) -> str:
        """The path of a node now; "" for the root and for what was removed."""
        parts: list[str] = []
        while node in self.places:
            node, name = self.places[node]
            parts.insert(0, name)
        return "/".join(parts)

    def find(self, path: str) -> Node | None:
        """What has the name `path` now."""
        try:
            folder, name = self._place(path)
        except KeyError:
            return None
        return folder.now.get(name)

    def now(self) -> Iterator[tuple[str, Node]]:
        """The paths of all that there is now."""
        yield from _walk(self.root, "")

    def after_crash(self, folder: Path, chance: Chance) -> None:
        """Write a state that the disk may have after a crash to `folder`, which does not exist."""
        names: dict[Folder, dict[str, tuple[int, Node | None]]] = {}
        for number, naming in self.pending.items():
            if chance():
                for owner, name, node in naming:
                    _keep_newest(names.setdefault(owner, dict(owner.flushed)), name, number, node)
        _write(self.root, folder, names, chance)


def nothing_more() -> bool:
    """The least that a disk holds: what was flushed and no more."""
    return False


def everything() -> bool:
    """The most: every change, as after a kill."""
    return True


def some(rng: random.Random) -> Chance:
    """Some changes, few or most of them."""
    share = rng.choice((0.1, 0.5, 0.9))
    return lambda: rng.random() < share


def _keep_newest(names: dict[str, tuple[int, Node | None]], name: str, number: int, node: Node | None) -> None:
    if name not in names or names[name][0] < number:
        names[name] = (number, node)


def _write(node: Folder, path: Path, changed: dict[Folder, dict[str, tuple[int, Node | None]]], chance: Chance) -> None:
    path.mkdir()
    for name, (_, child) in changed.get(node, node.flushed).items():
        if isinstance(child, Folder):
            _write(child, path / name, changed, chance)
        elif isinstance(child, Link):
            (path / name).symlink_to(child.target)
        elif child is not None:
            (path / name).write_bytes(child.after_crash(chance))


def _walk(folder: Folder, path: str) -> Iterator[tuple[str, Node]]:
    for name, node in folder.now.items():
        yield path + name, node
        if isinstance(node, Folder):
            yield from _walk(node, f"{path}{name}/")


def _patch(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        _resize(content, offset)
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, length: int) -> None:
    content.extend(bytes(max(0, length - len(content))))
    del content[length:]


def _blocks(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """The parts of a write that lie in different blocks of the disk."""
    start = 0
    while start < len(data):
        end = start + BLOCK - (offset + start) % BLOCK
        yield offset + start, data[start:end]
        start = end
