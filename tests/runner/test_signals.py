"""Signals to a run: which of them end it, and that it says how to resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from l2s import cli, interrupts

ROOT = Path(__file__).parents[2]
RUN = """
import sys, time
from l2s import cli
from l2s import cli, interrupts

def wait(arguments):
    with interrupts.signals_raise():
        print("running", flush=True)
        sys.stdin.readline()
    return 0

cli._run = wait
sys.exit(cli.main(["run", "--run_all"]))
"""


@contextmanager
def running(*, ignored: tuple[signal.Signals, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """A run that waits for a line on its input; it starts with the signal `ignored` off and all others on."""

    def dispose() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=dispose,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_ends_the_run_which_says_how_to_resume(number: signal.Signals, status: int) -> None:
    with running() as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert errors.strip() == "l2s: interrupted; the same command resumes here"


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP], ids=["in a script's background", "under nohup"])
def test_a_signal_that_the_parent_switched_off_stays_off_and_sigterm_still_ends_the_run(
    ignored: signal.Signals,
) -> None:
    with running(ignored=(ignored,)) as process:
        process.send_signal(ignored)
        process.communicate("go on\n", timeout=60)
    assert process.returncode == 0
    with running(ignored=(ignored,)) as process:
        process.send_signal(ignored)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_dropped_ends_the_run_all_the_same() -> None:
    class Dropping:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background job ignores it
    try:
        with interrupts.signals_raise():
            Dropping()
            with pytest.raises(KeyboardInterrupt):
                interrupts.raise_if_lost()
        interrupts.raise_if_lost()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_a_signal_while_the_arguments_are_read_ends_the_command_as_any_other(
    number: signal.Signals, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(cli, "_parser", lambda: signal.raise_signal(number))
    try:
        ended = cli.main(["run", "--run_all"])
    except SystemExit as end:
        ended = int(str(end.code))
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == status
    assert capsys.readouterr().err.strip() == "l2s: interrupted; the same command resumes here"


def catches(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether a process handles a signal in Python; true as well once it has ended."""
    if process.poll() is not None:
        return True
    status = Path(f"/proc/{process.pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> number - 1 & 1)


def test_a_signal_during_the_imports_ends_the_command_in_one_line() -> None:
    moments = [
        (number, status, delay, command)
        for number, status, command in (
            (signal.SIGINT, 130, ["-m", "l2s", "run"]),
            (signal.SIGTERM, 143, ["-m", "l2s", "run"]),
            (signal.SIGHUP, 129, ["scripts/run_experiment.py"]),
        )
        for delay in (0.0, 0.1, 0.4)
    ]
    ended = []
    for number, status, delay, command in moments:
        process = subprocess.Popen(
            [sys.executable, *command, "--experiment_name=../x"],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGHUP)],
        )
        while not catches(process, signal.SIGTERM):
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1].strip()
        ended.append(process.returncode)
        if process.returncode == status:
            assert errors == "l2s: interrupted; the same command resumes here"
        else:  # it had refused the name, and may have been ending: then Python has given up its handlers
            assert process.returncode in (2, -number)
            assert len(errors.splitlines()) == 1
    assert set(ended) >= {130, 143, 129}


STAGE = """
import os, signal, sys, time
from l2s.interrupts import LAUNCHER, end_on_request, request

os.environ[LAUNCHER] = str(os.getppid())
end_on_request()
with request.deferring():
    print(os.getpid(), flush=True)
    while not request.made:
        time.sleep(0.01)
    time.sleep(2)  # its work is saved, longer than the stage takes to see that its run is gone
    open(sys.argv[1], "w").close()
"""


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C in srun"])
def test_a_stage_that_was_asked_to_end_twice_saves_its_work_though_its_run_is_gone_meanwhile(
    tmp_path: Path, first: signal.Signals
) -> None:
    launcher = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {STAGE!r}, sys.argv[1]])\n"
        "time.sleep(60)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", launcher, str(tmp_path / "saved")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    stage = int(run.stdout.readline())
    for number in (first, signal.SIGTERM):  # as under Slurm, which signals all processes, and then the run does
        os.kill(stage, number)
        time.sleep(0.2)
    run.kill()
    run.wait()
    deadline = time.monotonic() + 30
    while not (tmp_path / "saved").exists() and psutil.pid_exists(stage):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (tmp_path / "saved").exists()
