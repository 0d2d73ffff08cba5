"""The two ways to confine a worker, and which of them this machine supports."""

from __future__ import annotations

import compileall
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from l2s.errors import UserError
from l2s.sandbox.child.plain import dumps
from l2s.sandbox.interpreter import interpreter
from l2s.sandbox.policy import Policy
from l2s.sandbox.seccomp import build_filter

CHILD = Path(__file__).parent / "child"
START_WORKER = "from child import worker; worker.main()"
MEMORY_BYTES = 1 << 30
NOBODY = 65534
DEVICES = ("/dev/null", "/dev/urandom")
LINKER_FILES = ("/etc/ld.so.cache",)

Name = Literal["bubblewrap", "landlock"]


@dataclass(frozen=True)
class Backend:
    """A way to confine a worker.

    Both end with the same system call filter and resource limits. bubblewrap gives the worker its own file system and
    namespaces. Landlock leaves the real file system in place and makes nearly every file unreadable.
    """

    name: Name
    prefix: tuple[str, ...]  # goes before the interpreter's command line
    import_path: str  # where the worker finds the package `child`
    user: int | None
    readable: tuple[str, ...] = ()
    listable: tuple[str, ...] = ()

    def command(self, timeout_s: float) -> list[str]:
        """The command line of a worker that may compute for about `timeout_s` seconds."""
        policy = Policy(
            cpu_seconds=math.ceil(timeout_s) + 1,  # a backstop; the tester's clock runs out first
            memory_bytes=MEMORY_BYTES,
            user=self.user,
            readable=list(self.readable),
            listable=list(self.listable),
            syscall_filter=build_filter(),
        )
        return [*self.prefix, *interpreter().command("-B", "-c", START_WORKER, dumps(policy).hex())]

    def environment(self) -> dict[str, str]:
        """The worker's whole environment; a fixed hash seed makes the order of its sets repeatable."""
        return {"PYTHONPATH": self.import_path, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}


def make_backend(name: Name) -> Backend:
    """The backend called `name`, not yet tried.

    Raises:
        UserError: this machine lacks a part of it.
    """
    compileall.compile_dir(CHILD, quiet=2)  # a worker cannot store bytecode, and would compile itself every time
    return _bubblewrap() if name == "bubblewrap" else _landlock()


def _bubblewrap() -> Backend:
    program = shutil.which("bwrap")
    if program is None:
        raise UserError("bubblewrap: no program `bwrap` on PATH")
    options = ["--die-with-parent", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    options += ["--unshare-cgroup-try", "--hostname", "sandbox", "--cap-drop", "ALL"]
    user = _unprivileged_user()
    if user is None:
        options.append("--unshare-user")
    else:
        options += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return Backend("bubblewrap", (program, *options, *_mounts(), "--chdir", "/", "--"), "/l2s", user)


def _mounts() -> list[str]:
    """A read-only file system that holds only the interpreter; bwrap starts from an empty tmpfs."""
    python = interpreter()
    loader = python.loader()
    shown = {Path("/l2s/child"): CHILD, loader.parent.resolve() / loader.name: loader}
    shown |= {path: path for path in (*python.folders(), python.executable, *map(Path, LINKER_FILES)) if path.exists()}
    top = sorted(Path("/").glob("lib*"))  # paths under which libraries are loaded; mostly links into /usr
    shown |= {folder: folder for folder in top if not folder.is_symlink()}
    mounts = []
    for parent in sorted({parent for path in (*shown, *map(Path, DEVICES)) for parent in path.parents} - {Path("/")}):
        mounts += ["--perms", "0755", "--dir", str(parent)]  # bwrap's default would let only root in
    for folder in top:
        mounts += ["--symlink", str(folder.readlink()), str(folder)] if folder.is_symlink() else []
    for path, source in sorted(shown.items()):  # a folder comes before its content
        mounts += ["--ro-bind", str(source), str(path)]
    for hidden in python.hidden_folders():
        mounts += ["--tmpfs", str(hidden), "--remount-ro", str(hidden)]
    for device in DEVICES:
        mounts += ["--dev-bind", device, device]
    return [*mounts, "--remount-ro", "/"]


def _landlock() -> Backend:
    python = interpreter()
    user = _unprivileged_user() if python.world_readable() else None
    extra = [path for path in (*LINKER_FILES, *DEVICES) if Path(path).exists()]
    return Backend(
        "landlock",
        prefix=(),
        import_path=str(CHILD.parent),
        user=user,
        readable=(*python.readable(), *extra),
        listable=tuple(map(str, python.library_path)),
    )


def _unprivileged_user() -> int | None:
    """The user that a worker started by root becomes; None for other users, or if no other user is mapped."""
    if os.geteuid() != 0:
        return None
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return NOBODY if any(first <= NOBODY < first + count for first, _, count in ranges) else None
