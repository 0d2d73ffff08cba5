"""Further kinds of hostile programs, several at a time: each ends with a verdict that is written beside its name.

They attack the process that compares, by results and replies, hunt for answers and secrets, and burden the machine.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from l2s import sandbox
from l2s.sandbox import backends, seccomp
from l2s.tasks import code
from support.sandbox_workers import HELPERS, gone, workers

ATTACKS = Path(__file__).parent / "attacks"  # a file for each family; `### tests`, then `### name: verdicts`
TIMEOUT_S = 0.5
ON_A_BUSY_MACHINE = "timeout"  # every program may end so; it gains nothing by it
OF_THE_TESTER = ("messages", "results")  # families that attack the tester, which is the same for every backend
SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "L2S_ENDPOINT_KEY", "L2S_SENTINEL")
MOST_CHARS = 300  # of a reason
PROBES = (335, 336)  # uretprobe and uprobe, which no filter sees; outside of a probe they only fail


@dataclass(frozen=True)
class Attack:
    """A program, the tests that look at its result, and the verdicts that it may get."""

    program: str
    tests: str
    verdicts: tuple[str, ...]


def read_attacks() -> dict[str, Attack]:
    found = {}
    for file in sorted(ATTACKS.glob("*.txt")):
        _, tests, *blocks = file.read_text().split("\n### ")
        for block in blocks:
            title, _, program = block.partition("\n")
            name, _, verdicts = title.partition(": ")
            found[f"{file.stem}-{name}"] = Attack(program, tests.partition("\n")[2], tuple(verdicts.split()))
    return found


PROGRAMS = read_attacks()


@dataclass(frozen=True)
class Batch:
    """All programs after one run of each, and what they left on the machine."""

    outcomes: dict[str, sandbox.Outcome | Exception]
    left: list[str]
    victim: int | None  # status of a process that must live on
    all_gone: bool


@pytest.fixture(scope="module")
def batch(confined: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    folder, secret = tmp_path_factory.mktemp("home"), f"SECRET-{secrets.token_hex(8)}"
    (folder / "canary.py").write_text(f"SECRET = {secret!r}\n")
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    names = f"FOLDER, PID = {str(folder)!r}, {victim.pid}\n"

    again = confined.name != get_args(backends.Name)[0]
    programs = {name: one for name, one in PROGRAMS.items() if not (again and name.startswith(OF_THE_TESTER))}

    def run(attack: Attack) -> sandbox.Outcome | Exception:
        try:
            return sandbox.run_tests(
                confined,
                names + HELPERS + attack.program,
                reference="",
                names={"solve": "solve"},
                tests=attack.tests.replace("EXPECTED", repr(secret)),
                timeout_s=TIMEOUT_S,
            )
        except (sandbox.SandboxError, ValueError) as error:  # nothing that a program does may end in one
            return error

    with pytest.MonkeyPatch.context() as patch:
        for name in SECRETS:
            patch.setenv(name, secret)
        running = workers()
        with ThreadPoolExecutor(8) as pool:
            outcomes = dict(zip(programs, pool.map(run, programs.values()), strict=True))
    files = [*Path("/tmp").glob("fill*"), *Path("/dev/shm").glob("fill*"), *Path("/").glob("fill*")]
    yield Batch(outcomes, [str(file) for file in files], victim.poll(), gone(workers() - running))
    victim.kill()
    victim.wait()


def test_every_attack_ends_with_its_verdict(batch: Batch) -> None:
    """Never with an error of the run: one answer must not end the evaluation of all."""
    allowed = {name: (*PROGRAMS[name].verdicts, ON_A_BUSY_MACHINE) for name in batch.outcomes}
    assert {
        name: one for name, one in batch.outcomes.items() if getattr(one, "status", None) not in allowed[name]
    } == {}
    assert {verdict for verdicts in allowed.values() for verdict in verdicts} <= set(code.STATUSES)


def test_what_is_said_of_an_attack_can_be_stored(batch: Batch) -> None:
    details = [one.detail for one in batch.outcomes.values() if isinstance(one, sandbox.Outcome)]
    assert max(map(len, details)) <= MOST_CHARS
    json.dumps(details, ensure_ascii=False).encode()


def test_no_attack_leaves_anything(batch: Batch) -> None:
    assert batch.left == []
    assert batch.victim is None
    assert batch.all_gone


def test_there_are_many_and_none_may_pass() -> None:
    assert len({attack.program for attack in PROGRAMS.values()}) == len(PROGRAMS) >= 90
    assert not any("correct" in attack.verdicts or not attack.verdicts for attack in PROGRAMS.values())


@pytest.mark.parametrize("name", ["hunts-environment_of_the_process", "hunts-environment_block"])
def test_the_hunts_find_a_secret_where_nothing_stops_them(name: str) -> None:
    program = HELPERS + PROGRAMS[name].program + "\nprint(solve(3))"
    secret = f"SECRET-{secrets.token_hex(8)}"
    shown = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"L2S_SENTINEL": secret}, capture_output=True, text=True
    )
    assert shown.stdout.strip() == secret


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="its system call numbers are those of x86_64")
def test_every_system_call_that_is_not_listed_is_refused(confined: sandbox.Backend) -> None:
    """The numbers are those of all known calls and some that do not exist yet."""
    listed = {number for number, _ in seccomp.ALLOWED.values()} | {seccomp.FCNTL[0], *PROBES}
    program = HELPERS + (
        "def solve(listed):\n    return [n for n in range(600) if n not in listed\n"
        "        and (libc.syscall(n, -1, -1, -1, -1, -1, -1) != -1 or ctypes.get_errno() != 1)]\n"
    )
    outcome = sandbox.run_tests(
        confined,
        program,
        reference="",
        names={"solve": "solve"},
        tests=f"assert solve({listed}) == [], solve({listed})",
        timeout_s=20,
    )
    assert outcome == sandbox.Outcome("correct")
