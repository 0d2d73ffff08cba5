"""Starts the stages of a run on a CPU: one process imports their libraries once, and each stage is a fork of it.

Importing torch, transformers and PEFT takes longer than many a small stage works. The server imports and computes
nothing, so it has no threads of torch that a fork would miss. It is for Linux without GPUs: a library that asks CUDA
anything while it is imported would leave all forks without a GPU, and macOS's own libraries do not survive a fork.

`python -m l2s.runner.fork_server RUN DESCRIPTOR PROGRAM MODULE ...` is the server of `python -m PROGRAM`, for the run
with the pid RUN.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

import psutil

from l2s.interrupts import LAUNCHER
from l2s.terminal import protect_output, quiet_libraries

LENGTH = struct.Struct("!I")  # bytes of the order that follows
REPORT = struct.Struct("!iq")  # a process, and its exit status or BEGUN
BEGUN = 1 << 32
MOST_FILES = 16
PR_SET_PDEATHSIG = 1  # linux/prctl.h; forks do not inherit it


class ForkServer:
    """The run's end of a fork server, which ends with the run, and its stages with it."""

    def __init__(self, program: str, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a server of `python -m PROGRAM`, which also imports `modules`.

        `environment` is its own; each process brings another.
        """
        self._link, theirs = socket.socketpair()
        with theirs:
            arguments = [str(os.getpid()), str(theirs.fileno()), program, *modules]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "l2s.runner.fork_server", *arguments],
                pass_fds=[theirs.fileno()],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        self._ordered: list[ForkedProcess] = []
        self._statuses: dict[int, int] = {}

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], files: Sequence[int], named: Mapping[str, int]
    ) -> ForkedProcess:
        """Start `python -m PROGRAM ARGUMENTS` as the leader of a process group; returns at once.

        Args:
            arguments: the command line.
            environment: the whole environment.
            files: its stdout, its stderr, and what else it keeps open.
            named: variables that are to hold the number of a file of `files`, by its index there.
        """
        order = {
            "arguments": list(arguments),
            "environment": dict(environment) | {LAUNCHER: str(self._process.pid)},
            "named": dict(named),
        }
        body = json.dumps(order).encode()
        process = ForkedProcess(self)
        self._ordered.append(process)
        with suppress(OSError):  # the server has ended, as `poll` will find
            socket.send_fds(self._link, [LENGTH.pack(len(body))], list(files))
            self._link.sendall(body)
        return process

    def status_of(self, process: ForkedProcess) -> int | None:
        """The exit status of `process`; None while it runs, or has not begun."""
        ended = not self._read_reports()
        if process.pid is None:
            return (self._process.wait() or 1) if ended else None
        if process.pid in self._statuses:
            return self._statuses.pop(process.pid)
        return -signal.SIGKILL if ended and not _is_alive(process.pid) else None

    def _read_reports(self) -> bool:
        """Take in what the server has said by now; False once it has ended."""
        while True:
            try:
                found = self._link.recv(REPORT.size, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            except BlockingIOError:
                return True
            except OSError:  # closed by either side
                return False
            if len(found) < REPORT.size:
                return bool(found)
            pid, status = REPORT.unpack(self._link.recv(REPORT.size))
            if status == BEGUN:
                self._ordered.pop(0).pid = pid
                self._statuses.pop(pid, None)  # of an earlier process with this number
            else:
                self._statuses[pid] = status

    def close(self) -> None:
        """End the server, whatever it is doing; a stage that still runs ends as if the run had been killed."""
        self._link.close()
        self._process.kill()
        self._process.wait()


class ForkedProcess:
    """A stage's process with the part of `subprocess.Popen` that a job uses; `pid` is None until it has begun."""

    def __init__(self, server: ForkServer) -> None:
        self.pid: int | None = None
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        """See Popen."""
        if self.returncode is None:
            self.returncode = self._server.status_of(self)
        return self.returncode

    def terminate(self) -> None:
        """See Popen. A process that has not begun never will."""
        if self.poll() is not None:
            return
        if self.pid is None:
            self._server.close()
            self.returncode = -signal.SIGTERM
        else:
            os.kill(self.pid, signal.SIGTERM)


def _is_alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def serve(link: socket.socket) -> list[str]:
    """Fork a process for each order that comes through `link`, and report its end; ends with the link.

    Returns in each forked process alone: the arguments of its command line.
    """
    wake, woken = os.pipe()
    for number in (wake, woken):
        os.set_blocking(number, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([link.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 1 << 12)
            _report_ended(link)
        if link.fileno() not in ready:
            continue
        head, files, _, _ = socket.recv_fds(link, LENGTH.size, MOST_FILES)
        if len(head) < LENGTH.size:
            _end()
        order = json.loads(_read(link, *LENGTH.unpack(head)))
        if (pid := _fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (wake, woken):
                os.close(number)
            link.close()
            _take_over(order, files)
            return list(order["arguments"])
        for number in files:
            os.close(number)
        _say(link, pid, BEGUN)


def _fork() -> int:
    """Fork the leader of a new process group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's idle threads, which it starts again in a fork
        pid = os.fork()
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, 0)  # both do it, so that it is done before either goes on
    return pid


def _take_over(order: dict[str, dict[str, str]], files: Sequence[int]) -> None:
    """Become the process that `order` describes."""
    for number in (1, 2):
        os.dup2(files[number - 1], number)
        os.close(files[number - 1])
    os.environ.clear()
    os.environ.update(order["environment"])
    os.environ.update({variable: str(files[int(index)]) for variable, index in order["named"].items()})


def _report_ended(link: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(link, pid, os.waitstatus_to_exitcode(status))


def _say(link: socket.socket, pid: int, status: int) -> None:
    try:
        link.sendall(REPORT.pack(pid, status))
    except OSError:
        _end()


def _read(link: socket.socket, count: int) -> bytes:
    """The next `count` bytes, or the end of this process if the run is gone."""
    found = bytearray()
    while len(found) < count:
        piece = link.recv(count - len(found))
        if not piece:
            _end()
        found += piece
    return bytes(found)


def _end() -> NoReturn:
    """End this server at once: nobody waits for it, and taking all modules apart would take a second."""
    os._exit(0)


def _end_with(run: int) -> None:
    """Let the kernel end this server when `run`, its parent, is gone, also in the middle of an import."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != run:
        _end()


def main(run: str, descriptor: str, program: str, *modules: str) -> int:
    """Entry point of the server, and of each stage that it forks."""
    _end_with(int(run))
    protect_output()
    link = socket.socket(fileno=int(descriptor))
    quiet_libraries()
    entry = importlib.import_module(program)
    for name in modules:
        importlib.import_module(name)
    gc.freeze()  # a fork does not look through what all share
    arguments = serve(link)
    sys.argv = [program, *arguments]
    return int(entry.main(*arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
