"""Output to terminals that lack characters, are closed, or go away: the program ends as it otherwise would."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from l2s.terminal import ERRORS, take_any_character

ROOT = Path(__file__).parent.parent
WORDS = "52.1–71.0 −3 “ok” … → é 你好 █ ─"
PROGRAM = f"""
import os, subprocess, sys
from l2s.terminal import protect_output
protect_output()
from rich.console import Console
print({WORDS!a}, flush=True)
console = Console(highlight=False, soft_wrap=True)
console.rule({WORDS!a}, align="left")
for _ in range(2000):
    console.print({WORDS!a})
print({WORDS!a}, file=sys.stderr)
subprocess.run([sys.executable, "-c", "print('child')"], check=True)
os.write(1, b"as a C library does")
open(sys.argv[1], "w").write("done")
"""


def run(report: Path, *, redirect: str = ">/dev/null 2>&1", **environment: str) -> int:
    """The exit status of PROGRAM; it has run to its end if `report` exists."""
    command = ["sh", "-c", f'"$0" -c "$1" "$2" {redirect}', sys.executable, PROGRAM, str(report)]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, env=env, timeout=120, check=False).returncode


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX"},
        {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "20"},
        {"COLUMNS": "1", "FORCE_COLOR": "1"},
        {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "ascii"},
    ],
    ids=str,
)
def test_a_terminal_without_the_characters_ends_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    assert run(tmp_path / "report", **environment) == 0
    assert (tmp_path / "report").exists()


@pytest.mark.parametrize(
    "redirect", [">&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>&1", "2>&1 | true", "2>&1 | head -n 1"]
)
def test_a_reader_that_is_gone_ends_nothing(tmp_path: Path, redirect: str) -> None:
    """For a pipe the shell returns the reader's status, so the program writes its own to a file."""
    status = tmp_path / "status"
    redirect = redirect.replace("2>&1 |", f"2>&1; echo $? >{status}; }} |")
    start = "{ " if "}" in redirect else ""
    command = ["sh", "-c", f'{start}"$0" -c "$1" "$2" {redirect}', sys.executable, PROGRAM, str(tmp_path / "report")]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=120, check=False, capture_output=True
    )
    assert int(status.read_text()) == 0 if start else done.returncode == 0
    assert (tmp_path / "report").read_text() == "done"


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", '52.1-71.0 -3 "ok" ... -> e ?? ? -'),
        ("latin-1", '52.1-71.0 -3 "ok" ... -> é ?? ? -'),
        ("utf-8", WORDS),
    ],
)
def test_the_nearest_characters_stand_for_those_that_lack(encoding: str, written: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    take_any_character(stream)
    print(WORDS, file=stream, end="", flush=True)
    stream.seek(0)
    assert stream.read() == written
    assert WORDS.encode(encoding, ERRORS).decode(encoding) == written


def test_what_an_unbuffered_process_printed_is_there_after_a_kill(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from l2s.terminal import protect_output\n"
        "protect_output()\n"
        "print('to stdout')\n"
        "print('to stderr', file=sys.stderr)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    found = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("to stdout\n", "to stderr\n")
