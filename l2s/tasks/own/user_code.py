"""A grader that the user wrote: called in its own process, with a time limit, and otherwise trusted.

It does not run in the sandbox: it has the rights of whoever started l2s.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import re
import select
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from l2s.config import ExperimentConfig
from l2s.errors import UserError, shown_path
from l2s.secret_variables import without_secrets
from l2s.tasks.types import Item
from l2s.visible import in_one_line

SPEC = re.compile(r"python:(?P<file>.+\.py):(?P<function>[^\W\d]\w*)", re.DOTALL)
WORKER = Path(__file__).with_name("worker.py")
LONGEST_REASON = 200  # characters
LOADING_S = 120.0  # imports of the user's file may be heavy
FAULTS = (
    "grader_raised",  # the user's function raised an exception, or ended its process
    "grader_timeout",  # the user's function took longer than own_timeout_s
    "grader_invalid",  # the user's function did not return a number from 0 to 1
)


class Spec(NamedTuple):
    """The parts of `python:FILE.py:function`."""

    file: Path
    function: str


class GraderError(Exception):
    """The user's code failed: a status from FAULTS, and what happened, in one short line."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(in_one_line(reason[:LONGEST_REASON]))
        self.status = status


def parse_spec(text: str) -> Spec | None:
    """The file and function of `python:FILE.py:function`; None for any other text."""
    found = SPEC.fullmatch(text)
    return Spec(Path(found["file"]), found["function"]) if found else None


def check(config: ExperimentConfig, item: Item) -> None:
    """Load the user's file and try its function on one item, the reference standing in for an answer.

    Raises:
        UserError: there is no such file or function, or it fails.
    """
    spec = _spec(config)
    where = f"own_grader={shown_path(config.own_grader)}"
    if not _is_file(spec.file):
        raise UserError(
            f"{where}: there is no file {shown_path(spec.file)}; give the Python file that holds your grader"
        )
    answer = item["reference"] if isinstance(item["reference"], str) else json.dumps(item["reference"])
    process = _process(spec.file.resolve(), spec.function)
    try:
        process.call(_request(answer, item), config.own_timeout_s)
    except GraderError as error:
        raise UserError(
            f"{where}: {error}; repair {spec.file.name}: it is called as {spec.function}(response, reference) or "
            f"{spec.function}(response, reference, row) and returns a number from 0 to 1 "
            f"(tried on the reference of {item['id']!r})"
        ) from None
    finally:
        process.stop()  # what it has loaded would take memory from the models


def _is_file(path: Path) -> bool:
    """Whether there is a file; a name longer than file systems take has none."""
    try:
        return path.is_file()
    except OSError:
        return False


def call(config: ExperimentConfig, response: str, item: Item) -> tuple[float, str]:
    """Score and status of an answer; a failure of the user's code is a status of its own, with score 0."""
    spec = _spec(config)
    try:
        score = _process(spec.file.resolve(), spec.function).call(_request(response, item), config.own_timeout_s)
    except GraderError as error:
        print(f"{config.own_grader}, item {item['id']}: {error}", file=sys.stderr, flush=True)
        return 0.0, error.status
    return score, "correct" if score == 1 else "partial" if score > 0 else "wrong"


def _spec(config: ExperimentConfig) -> Spec:
    spec = parse_spec(config.own_grader)
    assert spec is not None
    return spec


def _request(response: str, item: Item) -> str:
    row = {**item["meta"]["row"], "id": item["id"], "domain": item["domain"], "messages": item["messages"]}
    row["reference"] = item["reference"]
    return json.dumps({"response": response, "reference": item["reference"], "row": row}) + "\n"


class _Process:
    """The process that runs the user's function: one answer at a time; it restarts after a kill."""

    def __init__(self, file: Path, function: str) -> None:
        self._command = [sys.executable, str(WORKER), str(file), function]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.stop)

    def call(self, request: str, timeout_s: float) -> float:
        """The score of one answer.

        Raises:
            GraderError: the file cannot be loaded, or the function fails.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            return _checked(self._ask(request, timeout_s))

    def _start(self) -> None:
        self.stop()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=without_secrets(os.environ)
        )
        self._answer(LOADING_S, "loading it")

    def _ask(self, request: str, timeout_s: float) -> Any:
        with suppress(BrokenPipeError):  # the process ended; reading tells how
            _open(self._process, "stdin").write(request)
            _open(self._process, "stdin").flush()
        return self._answer(timeout_s, "a call")

    def _answer(self, timeout_s: float, what: str) -> Any:
        """One line from the process. Nothing else is in the pipe, so a first byte means that a whole line follows."""
        output = _open(self._process, "stdout")
        waiting = select.poll()  # select() takes no descriptor above 1023
        waiting.register(output, select.POLLIN)
        if not waiting.poll(timeout_s * 1000):
            self.stop()
            raise GraderError("grader_timeout", f"{what} took longer than {timeout_s:g} s")
        line = output.readline()
        if not line:
            status = self._process.wait() if self._process else None
            raise GraderError("grader_raised", f"{what} ended its process (status {status})")
        answer = json.loads(line)
        if "error" in answer:
            raise GraderError("grader_raised", str(answer["error"]))
        return answer.get("score")

    def stop(self) -> None:
        """Kill the process if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            with suppress(BrokenPipeError):  # a request that the process never read
                _open(self._process, "stdin").close()
            _open(self._process, "stdout").close()
            self._process = None


def _open(process: subprocess.Popen[str] | None, name: str) -> IO[str]:
    pipe: IO[str] | None = getattr(process, name)
    assert pipe is not None
    return pipe


def _checked(score: Any) -> float:
    if isinstance(score, bool | int | float) and math.isfinite(score) and 0 <= score <= 1:
        return float(score)
    raise GraderError("grader_invalid", f"it returned {score}, not a number from 0 to 1")


@cache
def _process(file: Path, function: str) -> _Process:
    return _Process(file, function)
