"""The confined process: loads the candidate program and answers the tester's requests, one JSON line each.

Nothing that arrives here is secret (the program and the arguments of calls), and nothing that leaves is believed.
"""

from __future__ import annotations

import json
import os
import sys

from .confine import confine
from .plain import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TextIO

MESSAGE_CHARS = 300  # of an exception's text; it is shown to people, not compared


def main() -> None:
    """Confine this process as sys.argv[1] says, report that, then serve until the tester hangs up."""
    policy = json.loads(sys.argv.pop())
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.path.pop(0)  # this package's own folder
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    confine(policy)
    os.dup2(null, 2)  # only now: what goes wrong before is told on the real stderr
    sys.set_int_max_str_digits(0)
    Worker(requests, replies).serve()


class Worker:
    """The candidate's module, and the objects of it that the tester holds by number."""

    def __init__(self, requests: TextIO, replies: TextIO) -> None:
        self._requests = requests
        self._replies = replies
        self._module = type(sys)("solution")
        self._objects: list[Any] = []

    def serve(self) -> None:
        """Report readiness, run the program, then answer requests."""
        sys.modules["solution"] = self._module  # dataclasses and pickle look a class's module up there
        self._send({"ready": True})
        program = json.loads(self._requests.readline())
        try:
            code = compile(program, "solution.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self._send({"syntax_error": _describe(error)[1]})
            return
        self._send(self._attempt(lambda: exec(code, self._module.__dict__)))
        for line in self._requests:
            request = json.loads(line)
            self._send(self._attempt(lambda request=request: self._perform(**request)))  # type: ignore[misc]

    def _perform(self, operation: str, target: Any, arguments: list[Any], keywords: list[Any]) -> Any:
        held = self._get(target)
        values = decode(arguments, self._objects.__getitem__)
        if operation == "call":
            return held(*values, **decode(keywords, self._objects.__getitem__))
        return {"get": getattr, "set": setattr}[operation](held, *values)

    def _get(self, target: str | int) -> Any:
        if isinstance(target, int):
            return self._objects[target]
        try:
            return getattr(self._module, target)
        except AttributeError:
            raise UndefinedNameError(target) from None

    def _attempt(self, action: Callable[[], Any]) -> dict[str, Any]:
        """The reply that says how `action` ended."""
        try:
            value = action()
        except UndefinedNameError as error:
            return {"undefined": str(error)}
        except BaseException as error:  # SystemExit and KeyboardInterrupt are a candidate's failures too
            return {"raised": _describe(error)}
        try:
            return {"value": encode(value, self._refer)}
        except RecursionError:
            return {"value": {"object": self._refer(value)}}

    def _refer(self, value: Any) -> list[Any]:
        self._objects.append(value)
        return [len(self._objects) - 1, type(value).__name__]

    def _send(self, reply: dict[str, Any]) -> None:
        self._replies.write(json.dumps(reply) + "\n")
        self._replies.flush()


class UndefinedNameError(Exception):
    """The program does not define a name that the tests call."""


def _describe(error: BaseException) -> list[str]:
    return [type(error).__name__, f"{type(error).__name__}: {error}"[:MESSAGE_CHARS]]
