"""Stages as processes: their environment, and that all of them end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from l2s.run_dir import RunDir
from l2s.runner.executors import LocalExecutor, LocalJob
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import Devices, Placement

FOUR_GPUS = Devices("gpu", ("0", "1", "4", "5"))


class Noted:
    """Replaces a process and records its environment."""

    environments: list[dict[str, str]]
    pid = 2**22 + 1  # above the largest

    def __init__(self, command: list[str], **options: Any) -> None:
        type(self).environments.append(options["env"])

    def poll(self) -> int:
        return 0


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The environments of the processes that an executor starts, without really starting them."""
    Noted.environments = []
    monkeypatch.setattr(subprocess, "Popen", Noted)
    return Noted.environments


def start(devices: Devices, stage: str, placement: Placement, folder: Path) -> LocalJob:
    groups: list[Placement] = [(number,) for number in placement] or [()]
    return LocalExecutor(devices, lock_fd=0).start(STAGES[stage], RunDir(folder), groups, log=None)


def test_a_stage_reports_to_nobody_unless_the_user_says_so(
    noted: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for given, expected in ((None, "1"), ("0", "0")):
        monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
        if given is not None:
            monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", given)
        assert start(FOUR_GPUS, "prepare", (), tmp_path).poll() == 0
        assert noted.pop()["HF_HUB_DISABLE_TELEMETRY"] == expected


def test_a_stage_sees_its_gpus_and_no_others(noted: list[dict[str, str]], tmp_path: Path) -> None:
    start(FOUR_GPUS, "prepare", (), tmp_path)
    start(FOUR_GPUS, "generate", (1,), tmp_path)
    start(FOUR_GPUS, "sft", (2, 3), tmp_path)
    seen = [(found["CUDA_VISIBLE_DEVICES"], found.get("RANK"), found.get("WORLD_SIZE")) for found in noted]
    assert seen == [("", None, None), ("1", None, None), ("4,5", "0", "2"), ("4,5", "1", "2")]
    assert noted[2]["MASTER_PORT"] == noted[3]["MASTER_PORT"]


def test_a_run_in_a_container_that_was_made_for_one_rank_of_several_is_alone(
    noted: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    start(FOUR_GPUS, "generate", (1,), tmp_path)
    start(FOUR_GPUS, "sft", (2, 3), tmp_path)
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")
    assert [noted[0].get(name) for name in names] == [None] * 4
    assert [noted[1].get(name) for name in names] == ["0", "0", "2", "127.0.0.1"]


def test_a_replica_sees_the_gpus_of_its_copy(noted: list[dict[str, str]], tmp_path: Path) -> None:
    executor = LocalExecutor(FOUR_GPUS, lock_fd=0)
    executor.start(STAGES["generate"], RunDir(tmp_path), [(0, 1), (2, 3)], log=None)
    seen = [(found["CUDA_VISIBLE_DEVICES"], found["L2S_REPLICA"], found.get("RANK")) for found in noted]
    assert seen == [("0,1", "0/2", None), ("4,5", "1/2", None)]


def test_a_cpu_worker_has_its_share_of_the_cores(noted: list[dict[str, str]], tmp_path: Path) -> None:
    devices = Devices("cpu", ("0,1", "2,3"))
    start(devices, "sft", (0, 1), tmp_path)
    assert [(found["L2S_CORES"], found["OMP_NUM_THREADS"]) for found in noted] == [("0,1", "2"), ("2,3", "2")]
    start(Devices("cpu", ("0,1",)), "sft", (0,), tmp_path)  # the whole CPU: left alone
    assert "L2S_CORES" not in noted[2]


def sleeper(*, deaf: bool = False) -> subprocess.Popen[bytes]:
    """A process that starts another and sleeps; a deaf one ignores SIGTERM."""
    program = (
        "import signal, subprocess, sys, time\n"
        f"signal.signal(signal.SIGTERM, signal.{'SIG_IGN' if deaf else 'SIG_DFL'})\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, process_group=0)


def status_of(job: LocalJob) -> int:
    deadline = time.monotonic() + 30
    while (code := job.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return code


@pytest.mark.parametrize("deaf", [False, True])
def test_a_stopped_job_leaves_no_process_behind(deaf: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2s.runner.executors.GRACE_S", 0.3)
    job = LocalJob()
    process = sleeper(deaf=deaf)
    job.processes.append(process)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    while job.poll() is None:
        job.stop()
        time.sleep(0.02)
    assert process.returncode == -(signal.SIGKILL if deaf else signal.SIGTERM)
    assert ended(child)


def test_where_one_rank_fails_the_others_are_ended() -> None:
    job = LocalJob()
    failing = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], process_group=0)
    job.processes += [sleeper(), failing]
    assert status_of(job) == 3


def ended(pid: int) -> bool:
    """Whether the process has ended, even if nobody has collected its status."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    return False
