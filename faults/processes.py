"""Processes of a run under test: started by a fork server or by the real command, watched, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

from faults.experiment import Experiment
from faults.forked import ForkServer

ROOT = Path(__file__).resolve().parents[1]
MARK = "L2S_FAULTS_RUN"  # environment variable of every process of a run, to find those left behind
WAIT_S = 600.0


class Process(Protocol):
    """The part of a started run that the harness uses."""

    pid: int

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        ...


Start = Callable[[Experiment], Process]


def start_command(experiment: Experiment) -> Process:
    """Start `l2s run ...` as a user does."""
    with output_of(experiment).open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "l2s", *experiment.argv],
            cwd=experiment.folder, env=os.environ | environment(experiment), stdout=output, stderr=output,
            stdin=subprocess.DEVNULL, process_group=0,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip


def start_forked(server: ForkServer) -> Start:
    """A `Start` that forks the run from `server`."""

    def start(experiment: Experiment) -> Process:
        return server.start(experiment.argv, experiment.folder, output_of(experiment), environment(experiment))

    return start


def environment(experiment: Experiment) -> dict[str, str]:
    """The additions of a run to this process's environment."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    own = {MARK: str(experiment.folder), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    return own | experiment.environment


def output_of(experiment: Experiment) -> Path:
    """The output of all runs of an experiment; it is outside of the folder, which may be a full disk."""
    return experiment.output or experiment.folder / "output.txt"


def wait(process: Process, seconds: float = WAIT_S) -> int | None:
    """The exit status, or None if it still runs after `seconds`."""
    deadline = time.monotonic() + seconds
    while (code := process.poll()) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return code


def family(process: Process) -> list[psutil.Process]:
    """The run and all processes that it started, the run first."""
    with suppress(psutil.Error):
        run = psutil.Process(process.pid)
        return [run, *run.children(recursive=True)]
    return []


def kill_groups(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to the run's process group and to those of its stages."""
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(psutil.Error):
            process.kill()


def left_alive(processes: Iterable[psutil.Process], seconds: float) -> list[int]:
    """Processes that still run after `seconds`; zombies count as ended."""
    deadline = time.monotonic() + seconds
    while True:
        alive = [process.pid for process in processes if _runs(process)]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
