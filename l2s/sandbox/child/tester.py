"""The trusted process: runs the tests against proxies whose calls are answered by the worker, and gives the verdict.

The candidate's objects never exist here. What comes back is plain data that is compared with this process's own
operators; anything else is a `Remote`, equal to nothing but itself.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

from .plain import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, BinaryIO, NoReturn

    from ..policy import Job

REPLY_BYTES = 4 << 20  # longest reply that is read
MEMORY_BYTES = 2 << 30  # of this process, because a reply can be made to be expensive to compare
GRACE_SECONDS = 3  # of CPU time beyond the clock, which one long comparison in C would not hear


class Verdict(BaseException):
    """How the run ended. Not an `Exception`, so that no test catches it by accident."""

    def __init__(self, status: str, detail: str = "") -> None:
        self.status = status
        self.detail = detail


def main() -> None:
    """Read a Job from stdin, talk to the worker over the two descriptors in argv, print [status, detail]."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    job: Job = json.loads(sys.stdin.buffer.read())
    cpu_seconds = int(job["timeout_s"]) + GRACE_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    requests, replies = map(int, sys.argv[1:])
    sys.path.pop(0)  # this package's own folder
    verdicts = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # trusted code may print
    verdict = run(job, Channel(os.fdopen(requests, "wb"), os.fdopen(replies, "rb")))
    os.write(verdicts, json.dumps([verdict.status, verdict.detail]).encode())
    os._exit(0)  # not a normal exit: that would flush a pipe whose reader may be gone


def run(job: Job, channel: Channel) -> Verdict:
    """Run the job's tests against the worker at the other end of `channel`."""
    try:
        namespace = _reference_namespace(job)
        channel.wait_until_ready()
        signal.signal(signal.SIGALRM, _time_is_up)
        signal.setitimer(signal.ITIMER_REAL, job["timeout_s"])
        channel.load(job["program"])
        for local, name in job["names"].items():
            namespace[local] = Remote(channel, name)
        exec(compile(job["tests"], "<tests>", "exec"), namespace)
        return Verdict("correct")
    except Verdict as verdict:
        return verdict
    except MemoryError:
        return Verdict("resource_limit", "comparing the result took more memory than allowed")
    except Exception as error:
        return Verdict("wrong", f"{_failing_line(error, job['tests'])}  # {type(error).__name__}: {error}"[:300])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _reference_namespace(job: Job) -> dict[str, Any]:
    """What the tests may use besides the candidate: the problem's own helpers and imports."""
    namespace: dict[str, Any] = {"__name__": "reference"}
    try:
        exec(compile(job["reference"], "<reference>", "exec"), namespace)
    except Exception as error:
        raise Verdict("broken_problem", f"its reference cannot be run ({type(error).__name__}: {error})") from None
    return namespace


def _time_is_up(signum: int, frame: FrameType | None) -> NoReturn:
    raise Verdict("timeout")


def _failing_line(error: BaseException, tests: str) -> str:
    """The line of `tests` that raised `error`."""
    number, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<tests>":
            number = trace.tb_lineno
        trace = trace.tb_next
    return tests.splitlines()[number - 1].strip() if number else ""


class Channel:
    """Requests to the worker and its replies, of which nothing is believed."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests = requests
        self._replies = replies

    def wait_until_ready(self) -> None:
        """Return when the worker is confined."""
        if self._replies.readline(REPLY_BYTES) != b'{"ready": true}\n':
            raise Verdict("not_started")

    def load(self, program: str) -> None:
        """Run the candidate program."""
        self._exchange(program)

    def request(self, operation: str, target: Any, *arguments: Any, **keywords: Any) -> Any:
        """Call, get or set something of the candidate's; arguments travel by value."""
        try:
            parts = [encode(part, self._name) for part in (arguments, keywords)]
        except TypeError as error:
            raise Verdict("broken_problem", f"a test passes {error}, which is not plain data") from None
        names = ("operation", "target", "arguments", "keywords")
        return self._exchange(dict(zip(names, (operation, target, *parts), strict=True)))

    def _exchange(self, message: Any) -> Any:
        try:
            self._requests.write(json.dumps(message).encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            raise Verdict("crashed") from None
        line = self._replies.readline(REPLY_BYTES)
        if not line.endswith(b"\n"):
            raise Verdict(*(("resource_limit", "its result is too large") if line[REPLY_BYTES - 1 :] else ("crashed",)))
        try:
            [(kind, content)] = json.loads(line).items()
            if kind == "value":
                return decode(content, self._object)
            name, text = content if kind == "raised" else ("", content)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
            raise Verdict("invalid_result", "its result is not plain data") from None
        if kind not in ("raised", "undefined", "syntax_error"):
            raise Verdict("invalid_result", "its result is not plain data")
        raise Verdict("resource_limit" if name == "MemoryError" else kind, str(text))

    def _name(self, value: Any) -> int:
        if type(value) is Remote:
            return int(object.__getattribute__(value, "_target"))
        raise TypeError(f"a {type(value).__name__}")

    def _object(self, content: Any) -> Remote:
        number, kind = content
        return Remote(self, int(number), str(kind))


class Remote:
    """A name of the candidate's program, or an object of its that is not plain data."""

    __slots__ = ("_channel", "_kind", "_target")

    def __init__(self, channel: Channel, target: str | int, kind: str = "") -> None:
        for name, value in {"_channel": channel, "_target": target, "_kind": kind}.items():
            object.__setattr__(self, name, value)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call it in the worker with copies of the arguments."""
        return self._channel.request("call", self._target, *arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a protocol of Python's, not something that a test asks for
            raise AttributeError(name)
        return self._channel.request("get", self._target, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._channel.request("set", self._target, name, value)

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is neither true nor false here")

    def __repr__(self) -> str:
        return f"<{self._kind or self._target} of the program>"
