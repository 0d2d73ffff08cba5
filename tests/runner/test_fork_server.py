"""The process that forks stages: what a fork gets, what comes back, and that nothing outlives the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from l2s.run_dir import RunDir
from l2s.runner.executors import LAST_WORDS, LocalExecutor
from l2s.runner.fork_server import ForkedProcess, ForkServer
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import Devices
from l2s.secret_variables import SECRETS
from support.descriptors import low_descriptors_taken

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stages are forked on Linux alone")
WAIT_S = 60.0
PROGRAM = """
    import json, os, sys, time
    from pathlib import Path

    def main(task, *arguments):
        if task == "tell":
            print("to stdout", flush=True)
            print("to stderr", file=sys.stderr, flush=True)
            opened = [f"/proc/self/fd/{number}" for number in range(100)]
            files = [os.readlink(each) if os.path.exists(each) else None for each in opened]
            found = {"argv": sys.argv, "environment": dict(os.environ), "group": os.getpgrp(), "files": files,
                     "pid": os.getpid(), "parent": os.getppid()}
            Path(arguments[0]).write_text(json.dumps(found))
        elif task == "write":
            os.write(int(os.environ[arguments[0]]), b"last words")
        elif task == "sleep":
            Path(arguments[0]).touch()
            time.sleep(60)
        elif task == "raise":
            raise ValueError("as told")
        return int(arguments[-1]) if task == "end" else 0
"""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ForkServer]]:
    """Starts servers of a small program; further lines run when it is imported."""
    servers: list[ForkServer] = []

    def start(more: str = "") -> ForkServer:
        (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM) + more)
        path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
        environment = {"PYTHONPATH": path, "PATH": os.environ["PATH"], "OF_SERVER": "1"}
        servers.append(ForkServer("program", (), environment))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def within(seconds: float, happened: Callable[[], object]) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def status_of(process: ForkedProcess) -> int:
    assert within(WAIT_S, lambda: process.poll() is not None)
    assert process.returncode is not None
    return process.returncode


def begun(process: ForkedProcess) -> int:
    """The number of a process, once the run knows it: a moment after it has begun."""
    assert within(WAIT_S, lambda: process.poll() is None and process.pid is not None)
    assert process.pid is not None
    return process.pid


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def pid_of(server: ForkServer) -> int:
    return server._process.pid


def test_a_fork_is_what_a_new_process_would_be(serve: Callable[..., ForkServer], tmp_path: Path) -> None:
    server = serve()
    with (tmp_path / "log").open("wb") as log, (tmp_path / "kept").open("wb") as kept:
        files = [log.fileno(), log.fileno(), kept.fileno()]
        process = server.start(["tell", str(tmp_path / "found")], {"OWN": "1", "LONG": "x" * 300_000}, files, {})
    assert status_of(process) == 0
    found = json.loads((tmp_path / "found").read_text())
    assert found["argv"] == ["program", "tell", str(tmp_path / "found")]
    assert found["environment"] == {"OWN": "1", "LONG": "x" * 300_000, "L2S_LAUNCHER": str(pid_of(server))}
    assert found["pid"] == found["group"] == process.pid
    assert found["parent"] == pid_of(server)
    stdin, stdout, stderr, *others = found["files"]
    assert [stdin, stdout, stderr] == [os.devnull, str(tmp_path / "log"), str(tmp_path / "log")]
    assert [target for target in others if target] == [str(tmp_path / "kept")]  # no socket or pipe of the server
    assert (tmp_path / "log").read_text() == "to stdout\nto stderr\n"


def test_a_server_starts_where_a_thousand_files_are_open(serve: Callable[..., ForkServer]) -> None:
    with low_descriptors_taken():
        server = serve()
    assert status_of(server.start(["end", "3"], {}, [1, 2], {})) == 3


def test_statuses_come_back_to_the_process_that_they_are_of(serve: Callable[..., ForkServer]) -> None:
    server = serve()
    processes = [server.start(["end", str(code)], {}, [1, 2], {}) for code in (3, 0, 5, 130)]
    assert [status_of(process) for process in processes] == [3, 0, 5, 130]
    assert status_of(server.start(["raise"], {}, [1, 2], {})) == 1


def test_a_signal_is_a_status_too(serve: Callable[..., ForkServer], tmp_path: Path) -> None:
    server = serve()
    for number, end in ((signal.SIGTERM, "terminate"), (signal.SIGKILL, "kill")):
        process = server.start(["sleep", str(tmp_path / end)], {}, [1, 2], {})
        begun(process)
        if end == "terminate":
            process.terminate()
        else:
            assert process.pid is not None
            os.killpg(process.pid, signal.SIGKILL)
        assert status_of(process) == -number
    assert status_of(server.start(["end", "7"], {}, [1, 2], {})) == 7  # the server serves on


def test_a_variable_names_a_file_of_the_fork(serve: Callable[..., ForkServer]) -> None:
    reading, writing = os.pipe()
    process = serve().start(["write", "WORDS"], {}, [1, 2, writing], {"WORDS": 2})
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"last words"  # ends, so the server has kept no copy
    assert status_of(process) == 0


def test_a_process_that_has_not_begun_can_be_stopped(serve: Callable[..., ForkServer], tmp_path: Path) -> None:
    server = serve("\ntime.sleep(60)\n")
    process = server.start(["sleep", str(tmp_path / "begun")], {}, [1, 2], {})
    assert process.poll() is None
    process.terminate()
    assert process.poll() == -signal.SIGKILL
    assert not alive(pid_of(server))
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize("has_begun", [True, False])
def test_stopping_what_has_not_begun_leaves_others_alone(
    serve: Callable[..., ForkServer], tmp_path: Path, has_begun: bool
) -> None:
    server = serve()
    at_work = server.start(["sleep", str(tmp_path / "at work")], {}, [1, 2], {})
    if has_begun:
        begun(at_work)
    os.kill(pid_of(server), signal.SIGSTOP)  # so that the next does not begin
    process = server.start(["sleep", str(tmp_path / "begun")], {}, [1, 2], {})
    process.terminate()
    assert process.poll() is None
    os.kill(pid_of(server), signal.SIGCONT)
    assert status_of(process) == -signal.SIGKILL
    assert within(WAIT_S, (tmp_path / "at work").exists)
    assert at_work.poll() is None
    at_work.terminate()
    assert status_of(at_work) == -signal.SIGTERM


def test_what_a_process_is_told_stays_with_it(serve: Callable[..., ForkServer], tmp_path: Path) -> None:
    server = serve()
    secret = "hf_" + "of this stage " * 3
    told = server.start(["sleep", str(tmp_path / "told")], {"HF_TOKEN": secret}, [1, 2], {})
    other = server.start(["sleep", str(tmp_path / "other")], {}, [1, 2], {})
    assert within(WAIT_S, lambda: (tmp_path / "told").exists() and (tmp_path / "other").exists())
    of_told, of_other = begun(told), begun(other)
    assert [secret.encode() in memory_of(pid) for pid in (of_told, pid_of(server), of_other)] == [True, False, False]
    for process in (told, other):
        process.terminate()
        assert status_of(process) == -signal.SIGTERM


def memory_of(pid: int) -> bytes:
    """What a process can write to."""
    found = bytearray()
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            start, end = (int(number, 16) for number in line.split()[0].split("-"))
            if line.split()[1].startswith("rw") and "[vvar" not in line:
                memory.seek(start)
                found += memory.read(end - start)
    return bytes(found)


def test_a_module_that_cannot_be_imported_is_left_to_the_stage_that_needs_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    server = ForkServer("program", ("nothing_of_this_name",), {"PYTHONPATH": path, "PATH": os.environ["PATH"]})
    try:
        assert status_of(server.start(["end", "4"], {}, [1, 2], {})) == 4
    finally:
        server.close()


def test_stages_start_anew_once_their_server_has_ended(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    (run_dir.root / "logs").mkdir(parents=True)
    with run_dir.lock() as lock_fd:
        executor = LocalExecutor(
            Devices("cpu", ("0",)), lock_fd, coming=[STAGES["sft"], STAGES["evaluate_student_sft"]]
        )
        assert executor.server is not None
        executor.close()
        log = run_dir.stage_log("sft")
        job = executor.start(STAGES["sft"], run_dir, [(0,)], log=log)
        assert within(WAIT_S, lambda: job.poll() is not None)
        assert job.poll() == 2
        assert "config.yaml" in log.read_text()


def test_a_server_that_cannot_import_fails_the_stage(
    serve: Callable[..., ForkServer], capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve("\nimport nothing_of_this_name\n")
    assert status_of(server.start(["end", "0"], {}, [1, 2], {})) == 1
    assert "nothing_of_this_name" in capfd.readouterr().err
    assert status_of(server.start(["end", "0"], {}, [1, 2], {})) == 1  # and those after it


def test_a_killed_server_is_a_killed_stage(serve: Callable[..., ForkServer], tmp_path: Path) -> None:
    server = serve()
    process = server.start(["sleep", str(tmp_path / "begun")], {}, [1, 2], {})
    begun(process)
    os.kill(pid_of(server), signal.SIGKILL)
    time.sleep(0.1)
    assert process.poll() is None  # this program does not watch its parent, as a stage does
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    assert status_of(process) == -signal.SIGKILL


@pytest.mark.parametrize("more", ["", "\ntime.sleep(60)\n"])
def test_a_server_ends_with_a_killed_run_also_while_it_imports(more: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM) + more)
    run = (
        "import os, time\n"
        "from l2s.runner.fork_server import ForkServer\n"
        "print(ForkServer('program', (), os.environ)._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    process = subprocess.Popen([sys.executable, "-c", run], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    server = int(process.stdout.readline())
    time.sleep(0.5)
    assert alive(server)
    process.kill()
    process.wait()
    assert within(5, lambda: not alive(server))


def test_the_server_ends_with_the_run(serve: Callable[..., ForkServer]) -> None:
    server = serve()
    assert status_of(server.start(["end", "0"], {}, [1, 2], {})) == 0
    server._link.close()  # as when the run is killed
    assert within(WAIT_S, lambda: not alive(pid_of(server)))


@pytest.mark.parametrize(
    ("names", "devices"),
    [
        (["prepare", "report"], Devices("cpu", ("0",))),  # nothing to share
        (["sft", "evaluate_student_sft"], Devices("gpu", ("0",))),
    ],
)
def test_stages_that_share_no_imports_or_use_a_gpu_start_anew(names: list[str], devices: Devices) -> None:
    assert LocalExecutor(devices, 0, coming=[STAGES[name] for name in names]).server is None


def test_a_failing_stage_of_an_executor_gives_its_status_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, f"secret-{name}")
    run_dir = RunDir(tmp_path / "run")
    (run_dir.root / "logs").mkdir(parents=True)
    with run_dir.lock() as lock_fd:
        executor = LocalExecutor(
            Devices("cpu", ("0", "1")), lock_fd, coming=[STAGES["evaluate_teacher"], STAGES["evaluate_student_base"]]
        )
        assert executor.server is not None
        try:
            log = run_dir.stage_log("evaluate_teacher")
            job = executor.start(STAGES["evaluate_teacher"], run_dir, [(0,)], log=log)
            assert within(WAIT_S, lambda: job.poll() is not None)
            assert job.poll() == 2
            assert "config.yaml" in log.read_text()  # an experiment without settings
            assert LAST_WORDS not in log.read_text()
            kept = Path(f"/proc/{pid_of(executor.server)}/environ").read_bytes()
            assert b"secret-" not in kept
        finally:
            executor.close()
    with run_dir.lock():
        pass


def test_a_cpu_worker_that_was_forked_computes_with_its_own_cores() -> None:
    import torch

    from l2s.devices import CORES, stay_on_cores
    from l2s.sandbox import runs

    runs._slots.cache_clear()

    pid = os.fork()
    if pid == 0:
        os.environ[CORES] = str(min(os.sched_getaffinity(0)))
        stay_on_cores()
        own = torch.get_num_threads() == 1 and len(os.sched_getaffinity(0)) == 1
        os._exit(0 if own and runs._slots()._value == 1 else 1)  # programs that the sandbox runs at a time
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
