"""The confined process: loads the candidate program and answers the tester's requests.

Nothing that arrives here is secret (the program and the arguments of calls), and nothing that leaves is trusted.
"""

from __future__ import annotations

import os
import sys

from .confine import confine
from .plain import HEADER_BYTES, Reference, dumps, loads
from .standard import build, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

PLAIN_BASES = (int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict)
MESSAGE_CHARS = 300  # characters of an exception's text, which is shown but not compared


def main() -> None:
    """Confine this process as sys.argv[1] says, report that, then serve until the tester hangs up."""
    policy = loads(bytes.fromhex(sys.argv.pop()))
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    sys.path.pop(0)  # this package's own folder
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    confine(policy)
    os.dup2(null, 2)  # only now, so that earlier errors reach the real stderr
    sys.set_int_max_str_digits(0)
    Worker(requests, replies).serve()


class Worker:
    """The candidate's module, and its objects that the tester knows by number."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests = requests
        self._replies = replies
        self._module = type(sys)("solution")
        self._objects: list[Any] = []

    def serve(self) -> None:
        """Report readiness, run the program, then answer requests."""
        sys.modules["solution"] = self._module  # dataclasses and pickle look up a class's module there
        self._send(("ready", ""))
        self._send(self._load(self._receive()))
        while request := self._receive():
            self._send(self._attempt(lambda request=request: self._perform(*request)))  # type: ignore[misc]

    def _load(self, program: str) -> tuple[str, Any]:
        try:
            code = compile(program, "solution.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return "syntax_error", _describe(error)
        return self._attempt(lambda: exec(code, self._module.__dict__))

    def _perform(self, operation: str, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        held = self._get(target) if type(target) is str else target
        if operation == "call":
            return held(*arguments, **keywords)
        if operation == "iter":
            return iter(held)
        if operation == "next":  # one element, or none at the end
            return next(((element,) for element in held), ())
        if operation == "get":
            return _attribute(held, *arguments)
        return setattr(held, *arguments)

    def _get(self, name: str) -> Any:
        try:
            return getattr(self._module, name)
        except AttributeError:
            raise UndefinedNameError(name) from None

    def _attempt(self, action: Callable[[], Any]) -> tuple[str, Any]:
        """The reply that says how `action` ended."""
        try:
            return "value", action()
        except UndefinedNameError as error:
            return "undefined", str(error)
        except MemoryError as error:
            return "resource_limit", _describe(error)
        except BaseException as error:  # SystemExit and KeyboardInterrupt are failures of the candidate too
            return "raised", _describe(error)

    def _send(self, reply: tuple[str, Any]) -> None:
        try:
            message = dumps(reply, self._refer, _describe_result)
        except MemoryError as error:
            message = dumps(("resource_limit", _describe(error)))
        except Exception:  # nested too deeply, or its own methods fail while it is read
            message = dumps(("value", Opaque(reply[1])), self._refer)
        self._replies.write(len(message).to_bytes(HEADER_BYTES, "big") + message)
        self._replies.flush()

    def _receive(self) -> Any:
        """The next request; None if the tester has hung up."""
        header = self._requests.read(HEADER_BYTES)
        return loads(self._requests.read(int.from_bytes(header, "big")), self._resolve, build) if header else None

    def _refer(self, value: Any) -> tuple[int, str]:
        self._objects.append(value)
        return len(self._objects) - 1, type(value).__name__

    def _resolve(self, number: int, name: str) -> Any:
        return self._objects[number]


class Opaque:
    """A value that cannot be sent."""

    def __init__(self, value: Any) -> None:
        self.value = value


class UndefinedNameError(Exception):
    """The program does not define a name that the tests call."""


def _attribute(held: Any, name: str) -> tuple[Any, ...]:
    """The attribute, or nothing if there is none."""
    try:
        return (getattr(held, name),)
    except AttributeError:
        return ()


def _describe_result(value: Any) -> tuple[str, Any] | None:
    """As `describe`. For an object that stays here: whether it iterates and, for a standard type, its truth value."""
    own = type(value)
    if (described := describe(value)) or issubclass(own, PLAIN_BASES):
        return described
    steps = "iterator" if hasattr(own, "__next__") else "iterable" if hasattr(own, "__iter__") else ""
    return "object", (Reference(value), steps, _truth(value))


def _truth(value: Any) -> bool | None:
    """The truth value of an object of a standard type; None for a type that the candidate wrote."""
    try:
        return bool(value) if type(value).__module__ in sys.stdlib_module_names else None
    except Exception:
        return None


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:MESSAGE_CHARS]
