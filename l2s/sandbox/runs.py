"""One run: a confined worker with the program, a trusted tester with the tests, and the end of both."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from l2s.sandbox.backends import CHILD, Backend
from l2s.sandbox.child.plain import dumps, loads
from l2s.sandbox.interpreter import interpreter
from l2s.sandbox.policy import Job

START_TESTER = "from child import tester; tester.main()"
STARTUP_S = 60.0  # seconds for the start of both processes on a busy machine
GRACE_S = 10.0  # seconds beyond the tester's own clock and CPU limit

_first = threading.Lock()


@cache
def _slots() -> threading.BoundedSemaphore:
    """Room for runs: more at a time than cores would only slow each other down.

    It is made on first use, because a forked stage is given its cores after the imports.
    """
    return threading.BoundedSemaphore(len(os.sched_getaffinity(0)))


@dataclass(frozen=True)
class Outcome:
    """How a run ended; statuses as in `l2s.tasks.code.STATUSES`."""

    status: str
    detail: str = ""


class SandboxError(RuntimeError):
    """The run itself failed, so nothing is known about the program."""


def run_tests(
    backend: Backend, program: str, *, reference: str, names: Mapping[str, str], tests: str, timeout_s: float
) -> Outcome:
    """Run `tests` (trusted source) against `program` (untrusted) and return the outcome.

    `reference` is trusted source that runs before the tests in their namespace. `names` maps a name in the tests to the
    name in the program that is called instead. `timeout_s` counts from the moment the worker is ready.

    Raises:
        SandboxError: a process could not start or failed for a reason of its own.
        ValueError: reference or tests are broken.
    """
    job = Job(program=program, reference=reference, names=dict(names), tests=tests, timeout_s=timeout_s)
    with _first:
        slots = _slots()
    with slots:
        status, detail = _run(backend, job)
    if status == "broken_problem":
        raise ValueError(detail)
    return Outcome(status, detail.encode(errors="replace").decode())  # files cannot hold half a surrogate pair


def _run(backend: Backend, job: Job) -> tuple[str, str]:
    requests_out, requests_in = os.pipe()
    replies_out, replies_in = os.pipe()
    worker = _start_worker(backend, job["timeout_s"], requests_out, replies_in)
    tester = _start_tester(requests_in, replies_out)
    try:
        status, detail = _verdict(tester, job)
        if status == "not_started":
            raise SandboxError(f"the {backend.name} sandbox did not start: {_last_words(worker)}")
        if status == "crashed":
            detail = detail or _how_it_ended(worker)
        return status, detail
    finally:
        _end(tester)
        _end(worker)


def _start_worker(backend: Backend, timeout_s: float, requests_out: int, replies_in: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            backend.command(timeout_s),
            stdin=requests_out,
            stdout=replies_in,
            stderr=subprocess.PIPE,
            env=backend.environment(),
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(requests_out)
        os.close(replies_in)


def _start_tester(requests_in: int, replies_out: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            interpreter().command("-c", START_TESTER, str(requests_in), str(replies_out)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(requests_in, replies_out),
            env={"PYTHONPATH": str(CHILD.parent), "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
            start_new_session=True,
        )
    finally:
        os.close(requests_in)
        os.close(replies_out)


def _verdict(tester: subprocess.Popen[bytes], job: Job) -> tuple[str, str]:
    try:
        answer, errors = tester.communicate(dumps(job), timeout=STARTUP_S + job["timeout_s"] + GRACE_S)
    except subprocess.TimeoutExpired:
        raise SandboxError(f"no verdict within {STARTUP_S + job['timeout_s'] + GRACE_S:.0f} s") from None
    if answer:
        status, detail = loads(answer)
        return str(status), str(detail)
    if tester.returncode < 0:  # killed: only a result that is extremely expensive to compare does that
        return "resource_limit", f"comparing its result ended with {_signal_name(-tester.returncode)}"
    raise SandboxError(f"the tester failed: {errors.decode(errors='replace').strip()}")


def _last_words(worker: subprocess.Popen[bytes]) -> str:
    worker.kill()
    _, errors = worker.communicate()
    return errors.decode(errors="replace").strip() or f"exit status {worker.returncode}"


def _how_it_ended(worker: subprocess.Popen[bytes]) -> str:
    """Exit status or signal of a worker that hung up; bwrap reports a signal as 128 + its number."""
    try:
        code = worker.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return "it hung up"
    if code < 0 or code > 128:
        return f"ended by {_signal_name(-code if code < 0 else code - 128)}"
    return f"exit status {code}"


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill and reap. bwrap also kills its namespace; without bwrap, the filter lets a worker have no children."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
