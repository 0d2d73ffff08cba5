"""Runs of `l2s` that share one import of torch: a server forks a process for each run, which forks all that it starts.

Importing torch takes several seconds, a tiny stage a fraction of one. Everything else is the real command's code:
arguments, schedule, LocalExecutor, its fork server, processes, their groups, signals and locks. Only the `exec` of new
interpreters is missing; `faults.processes.start_command` runs the same experiment with it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

MODULES = (
    "torch", "transformers", "peft", "trl", "datasets", "accelerate", "l2s.cli", "l2s.runner.experiment",
    "l2s.runner.executors", "l2s.runner.fork_server",
    "l2s.plan.before_run", "l2s.tasks.prepare", "l2s.generation.generate", "l2s.signals.score",
    "l2s.training.sft", "l2s.training.kd", "l2s.training.on_policy", "l2s.evaluation.evaluate", "l2s.report.stage",
)  # fmt: skip


class ForkServer:
    """Starts runs by forking a process that has imported everything."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it, with `environment` in addition to this process's."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.forked"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | (environment or {}),
        )  # fmt: skip
        assert self._receive() == "ready"

    def start(self, argv: Sequence[str], folder: Path, output: Path, environment: dict[str, str]) -> Forked:
        """Run `l2s ARGV` in `folder`; the run leads a process group and writes its output to `output`."""
        order = {"argv": list(argv), "folder": str(folder), "output": str(output), "environment": environment}
        self._send(order)
        return Forked(int(self._receive()), self._status)

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _status(self, pid: int) -> int | None:
        self._send({"status_of": pid})
        found = self._receive()
        return None if found == "running" else int(found)

    def _send(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _receive(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the fork server ended")
        return line


class Forked:
    """A forked process with the part of `subprocess.Popen` that the harness and LocalJob use."""

    def __init__(self, pid: int, status: Callable[[int], int | None]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """See Popen."""
        if self.returncode is None:
            self.returncode = self._status(self.pid)
        return self.returncode

    def terminate(self) -> None:
        """See Popen."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """See Popen."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """See Popen."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """See Popen."""
        while (code := self.poll()) is None:
            time.sleep(0.005)
        return code


def _serve() -> None:
    for name in MODULES:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    own_stdin, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    gc.freeze()
    print("ready", file=answers, flush=True)
    for line in own_stdin:
        order = json.loads(line)
        if "status_of" in order:
            status = _poll(order["status_of"])
            print("running" if status is None else status, file=answers, flush=True)
        else:
            print(_fork(partial(_run, order)), file=answers, flush=True)


def _poll(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _fork(work: Callable[[], int], keep: Sequence[int] = ()) -> int:
    """Fork the leader of a new process group, which does `work` and exits with its status; return its pid."""
    pid = os.fork()
    if pid:
        os.setpgid(pid, pid)
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.default_int_handler if name == signal.SIGINT else signal.SIG_DFL)
        from l2s.tasks.own import task as own_data

        own_data._read.cache_clear()  # these rows lie in a file that is closed next; a real stage reads its own
        _let_go({int(link.name) for link in Path("/proc/self/fd").iterdir()} - {0, 1, 2, *keep})
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 0xFF)


def _let_go(numbers: set[int]) -> None:
    """Let go of the parent's files, but keep their numbers: the parent's file objects, which live here too, close these
    numbers when they are collected, and would otherwise close what the stage has opened since."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in numbers - {null}:
        with suppress(OSError):  # the listing itself was open too
            os.fstat(number)
            os.dup2(null, number, inheritable=False)


def _run(order: dict[str, Any]) -> int:
    os.chdir(order["folder"])
    os.environ.update(order["environment"])
    _lead_to(os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    from l2s import cli
    from l2s.runner import executors, fork_server

    sys.argv = ["l2s", *order["argv"]]
    forking = SimpleNamespace(
        Popen=_popen, run=subprocess.run, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT,
        CalledProcessError=subprocess.CalledProcessError,
    )  # fmt: skip
    vars(executors)["subprocess"] = forking
    vars(fork_server)["subprocess"] = forking
    return cli.main(order["argv"])


def _lead_to(descriptor: int) -> None:
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _popen(
    command: list[str], *, pass_fds: Sequence[int], env: dict[str, str], stdout: IO[bytes] | None = None, **_: Any
) -> Forked:
    """A process of LocalExecutor or of its fork server, `python -m MODULE ...`, forked instead of started."""
    module, arguments = command[2], command[3:]

    def work() -> int:
        os.environ.clear()
        os.environ.update(env)
        if stdout is not None:
            _lead_to(output)
        sys.argv = [module, *arguments]
        return int(sys.modules[module].main(*arguments))

    output = stdout.fileno() if stdout is not None else 1
    keep = [*pass_fds, *([output] if stdout is not None else [])]
    return Forked(_fork(work, keep), _poll)


if __name__ == "__main__":
    _serve()
