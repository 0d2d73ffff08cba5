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
from l2s.runner.versions import package_versions
from l2s.terminal import protect_output, quiet_libraries

CALL = b"!"  # comes with the files of an order
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
        self._running: set[int] = set()

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
        own = dict(environment) | {LAUNCHER: str(self._process.pid)}
        order = {"arguments": list(arguments), "environment": own, "named": dict(named)}
        process = ForkedProcess(self)
        self._ordered.append(process)
        # The order is a file that the fork alone reads: a signal cannot cut it, and the server never holds its secrets.
        with os.fdopen(os.memfd_create("order"), "wb") as paper:
            paper.write(json.dumps(order).encode())
            paper.flush()
            try:
                socket.send_fds(self._link, [CALL], [paper.fileno(), *files])
            except OSError:
                self.close()  # the server has ended, or is of no use
        return process

    @property
    def is_alive(self) -> bool:
        """Whether the server can start another process."""
        return self._process.poll() is None

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
            if status != BEGUN:
                self._running.discard(pid)
                self._statuses[pid] = status
                continue
            process = self._ordered.pop(0)
            process.pid = pid
            self._running.add(pid)
            self._statuses.pop(pid, None)  # of an earlier process with this number
            if process.unwanted:
                os.killpg(pid, signal.SIGKILL)

    def forgo(self, process: ForkedProcess) -> None:
        """See that a process that has not begun does nothing. The server ends if no other is at work or wanted."""
        process.unwanted = True
        if not self._running and all(ordered.unwanted for ordered in self._ordered):
            self.close()

    def close(self) -> None:
        """End the server, whatever it is doing; a stage that still runs ends as if the run had been killed."""
        self._process.kill()
        self._process.wait()
        self._link.close()


class ForkedProcess:
    """A stage's process with the part of `subprocess.Popen` that a job uses; `pid` is None until it has begun."""

    def __init__(self, server: ForkServer) -> None:
        self.pid: int | None = None
        self.returncode: int | None = None
        self.unwanted = False  # it was stopped before it had begun
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
            self._server.forgo(self)
            return
        with suppress(ProcessLookupError):  # it has ended, and the report is on its way
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
    waiting = select.poll()  # select() takes no descriptor above 1023, and the link may have one
    for number in (link.fileno(), wake):
        waiting.register(number, select.POLLIN)
    while True:
        ready = {number for number, _ in waiting.poll()}
        if wake in ready:
            os.read(wake, 1 << 12)
            _report_ended(link)
        if link.fileno() not in ready:
            continue
        try:
            call, files, _, _ = socket.recv_fds(link, len(CALL), MOST_FILES)
        except OSError:
            _end()
        if not call:
            _end()
        if (pid := _fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (wake, woken):
                os.close(number)
            link.close()
            return _take_over(*files)
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


def _take_over(paper: int, *files: int) -> list[str]:
    """Become the process that the order in `paper` describes; returns the arguments of its command line."""
    os.lseek(paper, 0, os.SEEK_SET)
    with os.fdopen(paper, "rb") as order_file:
        order = json.load(order_file)
    for number in (1, 2):
        os.dup2(files[number - 1], number)
        os.close(files[number - 1])
    os.environ.clear()
    os.environ.update(order["environment"])
    os.environ.update({variable: str(files[index]) for variable, index in order["named"].items()})
    return list(order["arguments"])


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
        with suppress(Exception):  # the stage that needs it will say so, in its own log
            importlib.import_module(name)
    package_versions()  # of the source that was imported, whatever is edited while the run works
    gc.freeze()  # a fork does not look through what all share
    arguments = serve(link)
    sys.argv = [program, *arguments]
    return int(entry.main(*arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
