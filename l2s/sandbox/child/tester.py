"""The trusted process: runs the tests against proxies whose calls the worker answers, and gives the verdict.

The candidate's objects never exist here. Replies are plain data, or values of the standard library built here from
their parts, and this process's own operators compare them. Anything else is a `Remote`, which equals only itself; the
tests can call it, read its attributes and iterate over it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` takes longer to import than many runs take
import os
import resource
import select
import sys
import time

from .plain import HEADER_BYTES, dumps, loads
from .standard import build, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..policy import Job

REPLY_BYTES = 4 << 20  # longest reply that is read
MEMORY_BYTES = 2 << 30  # memory limit of this process: a reply can be made expensive to compare
GRACE_SECONDS = 2  # CPU time beyond the clock, which a long comparison does not check
WALL_GRACE_SECONDS = 20  # the same on the wall, for a machine that is busy
MESSAGE_CHARS = 300  # characters of a reason
FAILURES = ("undefined", "syntax_error", "raised", "resource_limit")  # replies of the worker that are not a value


class Verdict(BaseException):
    """The end of a run. It is not an `Exception`, so that no test catches it by accident."""

    def __init__(self, status: str, detail: str = "") -> None:
        self.status = status
        self.detail = detail[:MESSAGE_CHARS]


def main() -> None:
    """Read a Job from stdin, talk to the worker over the two descriptors in argv, print (status, detail)."""
    job: Job = loads(sys.stdin.buffer.read())
    cpu_seconds = int(job["timeout_s"]) + GRACE_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.path.pop(0)  # this package's own folder
    verdicts = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # trusted code may print
    requests, replies = map(int, sys.argv[1:])
    verdict = run(job, Channel(requests, replies))
    os.write(verdicts, dumps((verdict.status, verdict.detail)))


def run(job: Job, channel: Channel) -> Verdict:
    """Run the job's tests against the worker at the other end of `channel`."""
    try:
        namespace = _reference_namespace(job)
        channel.wait_until_ready()
        channel.deadline = time.monotonic() + job["timeout_s"]
        _signal.setitimer(_signal.ITIMER_REAL, job["timeout_s"] + WALL_GRACE_SECONDS)  # SIGALRM ends this process
        channel.exchange(job["program"])
        for local, name in job["names"].items():
            namespace[local] = Remote(channel, name)
        exec(compile(job["tests"], "<tests>", "exec"), namespace)
        return Verdict("correct")
    except Verdict as verdict:
        return verdict
    except MemoryError:
        return Verdict("resource_limit", "comparing its result took more memory than allowed")
    except Exception as error:
        return Verdict("wrong", f"{_failing_line(error, job['tests'])}  # {type(error).__name__}{_message(error)}")


def _reference_namespace(job: Job) -> dict[str, Any]:
    """The names that the tests may use besides the candidate: the problem's own helpers and imports."""
    namespace: dict[str, Any] = {"__name__": "reference"}
    try:
        exec(compile(job["reference"], "<reference>", "exec"), namespace)
    except Exception as error:
        raise Verdict("broken_problem", f"its reference cannot be run ({type(error).__name__}: {error})") from None
    return namespace


def _failing_line(error: BaseException, tests: str) -> str:
    """The line of `tests` that raised `error`."""
    number, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<tests>":
            number = trace.tb_lineno
        trace = trace.tb_next
    return tests.split("\n")[number - 1].strip() if number else ""


def _message(error: BaseException) -> str:
    """What `error` says. Its arguments may be a result of the program, which cannot always be printed."""
    try:
        return f": {error}"
    except Exception as failure:  # more digits than may be converted, or nested too deeply
        return f" ({type(failure).__name__} in its message)"


class Channel:
    """Requests to the worker and its replies, none of which is trusted. Neither direction outlasts `deadline`."""

    def __init__(self, requests: int, replies: int) -> None:
        os.set_blocking(requests, False)  # a worker that stops reading must not block this process
        self._requests = requests
        self._replies = replies
        self.deadline = float("inf")  # on the clock of time.monotonic()

    def wait_until_ready(self) -> None:
        """Return when the worker is confined."""
        try:
            message = self._receive()
        except Verdict:
            message = b""
        if message != dumps(("ready", "")):
            raise Verdict("not_started")

    def exchange(self, message: Any) -> Any:
        """Send a message and return the value in the reply; any other reply is a verdict."""
        try:
            self._send(dumps(message, _refer, describe))
        except TypeError as error:
            raise Verdict("broken_problem", f"a test passes {error}, which is not plain data") from None
        try:
            kind, content = loads(self._receive(), self._resolve, self._build)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
            raise Verdict("invalid_result", "its reply is not plain data") from None
        if kind == "value":
            return content
        raise Verdict(kind, str(content)) if kind in FAILURES else Verdict("invalid_result", "its reply has no kind")

    def _send(self, message: bytes) -> None:
        rest = memoryview(len(message).to_bytes(HEADER_BYTES, "big") + message)
        try:
            while rest:
                self._wait(self._requests, select.POLLOUT)
                rest = rest[os.write(self._requests, rest) :]
        except BrokenPipeError:
            raise Verdict("crashed") from None

    def _receive(self) -> bytes:
        length = int.from_bytes(self._read(HEADER_BYTES), "big")
        if length > REPLY_BYTES:
            raise Verdict("resource_limit", "its result is too large")
        return self._read(length)

    def _read(self, length: int) -> bytes:
        content = b""
        while len(content) < length:
            self._wait(self._replies, select.POLLIN)
            chunk = os.read(self._replies, length - len(content))
            if not chunk:
                raise Verdict("crashed")
            content += chunk
        return content

    def _wait(self, pipe: int, event: int) -> None:
        left = self.deadline - time.monotonic()
        waiting = select.poll()  # select() takes no descriptor above 1023, and these have the numbers of the caller
        waiting.register(pipe, event)
        if left <= 0 or not waiting.poll(None if left == float("inf") else left * 1000):
            raise Verdict("timeout")

    def _resolve(self, number: int, name: str) -> Remote:
        return Remote(self, number, name)

    def _build(self, kind: str, parts: Any) -> Any:
        if kind != "object":
            return build(kind, parts)
        held, steps, truth = parts
        return REMOTES[steps](self, held._target, held._kind, truth)


def _refer(value: Any) -> tuple[int, str]:
    if isinstance(value, Remote) and isinstance(value._target, int):
        return value._target, ""
    raise TypeError(f"a {type(value).__name__}")


class Remote:
    """A name of the candidate's program, or one of its objects that is not plain data."""

    __slots__ = ("_channel", "_kind", "_target", "_truth")

    def __init__(self, channel: Channel, target: str | int, kind: str = "", truth: bool | None = None) -> None:
        object.__setattr__(self, "_channel", channel)
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_truth", truth)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the object in the worker with copies of the arguments."""
        return self._request("call", *arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a Python protocol, not something that a test asks for
            raise AttributeError(name)
        found = self._optional("get", name)
        if not found:
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        return found[0]

    def __setattr__(self, name: str, value: Any) -> None:
        self._request("set", name, value)

    def _request(self, operation: str, *arguments: Any, **keywords: Any) -> Any:
        target = self._target if isinstance(self._target, str) else self
        return self._channel.exchange((operation, target, arguments, keywords))

    def _optional(self, operation: str, *arguments: Any) -> tuple[Any, ...]:
        """The result of the operation in a tuple; an empty tuple if there is none."""
        found = self._request(operation, *arguments)
        if type(found) is not tuple or len(found) > 1:
            raise TypeError(f"{self!r} answers with something else")
        return found

    def __bool__(self) -> bool:
        if not isinstance(self._truth, bool):
            raise TypeError(f"{self!r} is neither true nor false here")
        return self._truth

    def __repr__(self) -> str:
        return f"<{self._kind or self._target} of the program>"


class RemoteIterable(Remote):
    """An object of the program that can be iterated over."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        """An iterator over the object; it stays in the worker too."""
        iterator = self._request("iter")
        if not isinstance(iterator, RemoteIterator):
            raise TypeError(f"{self!r} gives no iterator")
        return iterator


class RemoteIterator(Remote):
    """A generator or other iterator of the program. Each step runs in the worker when the tests ask for it."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        """The iterator itself."""
        return self

    def __next__(self) -> Any:
        """The next element."""
        step = self._optional("next")
        if not step:
            raise StopIteration
        return step[0]


REMOTES = {"": Remote, "iterable": RemoteIterable, "iterator": RemoteIterator}
