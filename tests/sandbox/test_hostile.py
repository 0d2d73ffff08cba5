"""Hostile and cheating programs: none passes, none touches anything outside, none outlives its run."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from l2s import sandbox
from support.sandbox_workers import HELPERS, gone, workers

HOSTILE = Path(__file__).parent / "hostile"  # one file for each family; a program follows its `### name`
TIMEOUT_S = 0.5


def read_programs() -> dict[tuple[str, str], str]:
    """All programs by family and name."""
    programs = {}
    for file in sorted(HOSTILE.glob("*.txt")):
        for block in file.read_text().split("\n### ")[1:]:
            name, _, program = block.partition("\n")
            programs[file.stem, name] = program
    return programs


PROGRAMS = read_programs()


@dataclass
class Ground:
    """Everything a hostile program could reach, and whether it did."""

    folder: Path
    secret: str
    victim: subprocess.Popen[bytes]
    listeners: list[socket.socket] = field(default_factory=list)

    @property
    def canary(self) -> Path:
        return self.folder / "canary.py"

    def names(self) -> str:
        tcp, udp, unix, abstract = self.listeners
        return (
            f"CANARY, FOLDER, PID = {str(self.canary)!r}, {str(self.folder)!r}, {self.victim.pid}\n"
            f"TCP, UDP = {tcp.getsockname()[1]}, {udp.getsockname()[1]}\n"
            f"SOCKET, ABSTRACT = {unix.getsockname()!r}, {abstract.getsockname()[1:].decode()!r}\n"
        )

    def state(self) -> list[object]:
        """What must be the same before and after a run."""
        status = self.canary.stat()
        return [
            self.canary.read_text(),
            (status.st_mode, status.st_mtime_ns, os.listxattr(self.canary)),
            sorted(path.name for path in self.folder.iterdir()),
            (Path(os.__file__).stat().st_mtime_ns, Path(importlib.util.cache_from_source(os.__file__)).exists()),
            sorted(path.name for path in (*Path("/tmp").glob("fill*"), *Path("/dev/shm").glob("fill*"))),
            self.victim.poll(),
            psutil.Process(self.victim.pid).nice(),
        ]

    def heard(self) -> list[bytes]:
        """What arrived at the listeners; even a connection counts."""
        return [data for listener in self.listeners for data in _heard(listener)]


def _heard(listener: socket.socket) -> Iterator[bytes]:
    try:
        yield listener.recv(100) if listener.type == socket.SOCK_DGRAM else listener.accept()[0].recv(100)
    except BlockingIOError:
        return


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    secret = f"SECRET-{secrets.token_hex(8)}"
    victim = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(3600)", secret], env={"SECRET": secret}, start_new_session=True
    )
    ground = Ground(tmp_path_factory.mktemp("home"), secret, victim)
    ground.canary.write_text(f"SECRET = {secret!r}\n")
    for kind, style, address in (
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        (socket.AF_UNIX, socket.SOCK_STREAM, str(ground.folder / "socket")),
        (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{secrets.token_hex(8)}"),
    ):
        listener = socket.socket(kind, style)
        listener.bind(address)
        listener.setblocking(False)
        if style == socket.SOCK_STREAM:
            listener.listen()
        ground.listeners.append(listener)
    yield ground
    for listener in ground.listeners:
        listener.close()
    victim.kill()
    victim.wait()


@pytest.mark.parametrize(("family", "name"), PROGRAMS, ids=map("-".join, PROGRAMS))
def test_a_hostile_program_gains_nothing(confined: sandbox.Backend, ground: Ground, family: str, name: str) -> None:
    before, running = ground.state(), workers()
    outcome = sandbox.run_tests(
        confined,
        ground.names() + HELPERS + PROGRAMS[family, name],
        reference="",
        names={"solve": "solve"},
        tests=f"assert solve(3) == {ground.secret!r} or abs(solve(3) - 10) < 1e-6",
        timeout_s=TIMEOUT_S,
    )
    assert outcome.status != "correct"
    if family == "escapes":
        assert outcome.status in ("raised", "crashed"), "the attempt was not refused"
    if family == "hangs":
        assert outcome.status == "timeout"
    assert ground.state() == before
    assert ground.heard() == []
    assert gone(workers() - running)


def test_there_are_many_of_them() -> None:
    assert len(set(PROGRAMS.values())) == len(PROGRAMS) >= 60


@pytest.mark.parametrize("name", ["open_canary", "io_open", "os_open", "mmap_canary", "dotdot", "import_canary"])
def test_the_programs_read_the_secret_where_nothing_stops_them(ground: Ground, name: str) -> None:
    program = ground.names() + HELPERS + PROGRAMS["read_answers", name] + "\nprint(solve(3))"
    assert _unconfined(program) == ground.secret


@pytest.mark.parametrize("name", ["tcp", "udp", "unix_socket", "abstract_socket"])
def test_the_programs_reach_a_listener_where_nothing_stops_them(ground: Ground, name: str) -> None:
    _unconfined(ground.names() + HELPERS + PROGRAMS["escapes", name] + "\nsolve(3)")
    assert ground.heard() == [b"out"]


def _unconfined(program: str) -> str:
    command = [sys.executable, "-B", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
