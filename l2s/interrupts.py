"""Signals that end a run, and the end of a stage whose run is gone. Imports nothing from l2s.

SIGTERM, SIGHUP and Ctrl-C end a run, which then ends its stages by SIGTERM. A stage ends at once, unless it can first
save its work (`Request`): a training then saves a checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LAUNCHER = "L2S_LAUNCHER"  # environment variable: the process that started a stage
GRACE_S = 7.0  # seconds for a stage to end by itself; the whole run has ten
LOOK_S = 0.5


@contextmanager
def signals_raise() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, as Ctrl-C raises KeyboardInterrupt, so that the run shuts down cleanly.

    A SIGHUP that nohup has disabled stays disabled. Python also leaves a SIGINT disabled that was disabled at its
    start, as for a job that a script starts in the background. SIGTERM always ends the run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    may_be_off = (signal.SIGHUP, signal.SIGINT)
    numbers = [signal.SIGTERM, *(number for number in may_be_off if signal.getsignal(number) is not signal.SIG_IGN)]
    previous = {number: signal.signal(number, _leave) for number in numbers}
    try:
        yield
    finally:
        _received.clear()
        for number, handler in previous.items():
            signal.signal(number, handler)


_received: list[int] = []


def _leave(number: int, frame: object) -> None:
    _received.append(number)
    _raise(number)


def _raise(number: int) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def raise_if_lost() -> None:
    """Raise for an earlier signal: Python drops exceptions of handlers in finalizers and in fork hooks."""
    if _received:
        _raise(_received[0])


class Request:
    """Whether this process was asked to end while it was deferring.

    Further requests change nothing: Slurm and systemd signal every process of a run, and the run then asks its stages
    itself. Who asks kills what does not end in time.
    """

    deferred = False
    made = False

    @contextmanager
    def deferring(self) -> Iterator[None]:
        """In this block a request is only recorded in `made`; the code in the block must check it and end."""
        self.deferred = True
        try:
            yield
        finally:
            self.deferred = False
            if self.made:
                raise SystemExit(128 + signal.SIGTERM)

    def receive(self, number: int, frame: object) -> None:
        """The handler of SIGTERM in a stage, and of SIGINT where a run started it."""
        if self.deferred:
            self.made = True
            return
        sys.exit(128 + number)


request = Request()


def end_on_request() -> None:
    """Let SIGTERM end this stage, and end the stage when the run that started it is gone, for whatever reason.

    A terminal sends Ctrl-C to the run alone, but srun sends it to all processes: then it is a request as well.
    """
    signal.signal(signal.SIGTERM, request.receive)
    if launcher := os.environ.get(LAUNCHER):
        signal.signal(signal.SIGINT, request.receive)
        threading.Thread(target=_end_with, args=(int(launcher),), daemon=True).start()


def _end_with(launcher: int) -> None:
    """Wait for the end of `launcher`, then end this process, and its group if the process does not end by itself.

    A killed run cannot end its stages, which would otherwise keep devices and lock from the next run.
    """
    while os.getppid() == launcher:
        time.sleep(LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    if os.getpgrp() == os.getpid():
        with suppress(ProcessLookupError):
            os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
