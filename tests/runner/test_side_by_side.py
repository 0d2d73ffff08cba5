"""Stages side by side on CPU workers: an interrupted run leaves nothing running, and resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from l2s.config import ExperimentConfig
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.run_dir import Manifest, RunDir, run_lock
from l2s.runner.executors import LocalExecutor, LocalJob, run_stage
from l2s.runner.freshness import begin
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import Devices

MakeConfig = Callable[..., ExperimentConfig]
TWO_WORKERS = Devices("cpu", ("0", "0"))
WAIT_S = 200


def prepare(config: ExperimentConfig) -> RunDir:
    rows = [
        {"id": f"n/{n}", "messages": [{"role": "user", "content": f"Say {n}."}], "response": "so " * (n % 4) + str(n),
         "finish_reason": "stop"}
        for n in range(16)
    ]  # fmt: skip
    run_dir = RunDir.of(config)
    run_dir.responses.parent.mkdir(parents=True)
    write_jsonl(run_dir.responses, rows)
    run_dir.save_config(config)
    return run_dir


def start(config: ExperimentConfig, run_dir: RunDir, count: int, lock_fd: int) -> LocalJob:
    log = run_dir.stage_log("sft")
    log.parent.mkdir(exist_ok=True)
    return LocalExecutor(TWO_WORKERS, lock_fd).start(STAGES["sft"], run_dir, [(n,) for n in range(count)], log=log)


def status_of(job: LocalJob) -> int:
    deadline = time.monotonic() + WAIT_S
    while (code := job.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return code


def test_two_ranks_that_are_stopped_are_resumed_by_one_to_the_same_student(tiny_config: MakeConfig) -> None:
    fields = {"sft_batch_size": 4, "sft_epochs": 3, "sft_lr": 1e-2, "save_steps": 1}
    config, whole = (tiny_config(experiment_name=name, **fields) for name in ("stopped", "whole"))
    run_dir = prepare(config)
    metrics = run_dir.sft / "metrics.jsonl"
    with run_dir.lock() as lock_fd:
        begin(STAGES["sft"], config, run_dir, "run")
        job = start(config, run_dir, 2, lock_fd)
        deadline = time.monotonic() + WAIT_S
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 2) and job.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for process in job.processes:
            assert process.pid is not None
            os.killpg(process.pid, signal.SIGKILL)
        assert status_of(job) != 0
        assert Manifest.load(run_dir.manifest("sft")) is None
        assert status_of(start(config, run_dir, 1, lock_fd)) == 0, run_dir.stage_log("sft").read_text()
    run_stage(STAGES["sft"], whole, prepare(whole), "run")
    curves = [load_jsonl(RunDir.of(each).sft / "metrics.jsonl") for each in (config, whole)]
    assert [row["step"] for row in curves[0]] == list(range(1, 13))
    assert "resumed after step" in run_dir.stage_log("sft").read_text()
    for left, right in zip(*curves, strict=True):
        assert abs(left["loss"] - right["loss"]) < 1e-4 * right["loss"]
    weights = [AutoModelForCausalLM.from_pretrained(RunDir.of(each).sft_model).state_dict() for each in (config, whole)]
    assert all((weights[0][name] - weights[1][name]).abs().max() < 1e-4 for name in weights[1])


def test_the_lock_is_held_by_what_outlives_a_killed_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed run cannot end its stages; another run must wait for them."""
    monkeypatch.setattr(run_lock, "PATIENCE_S", 0.5)
    run_dir = RunDir(tmp_path)
    program = (
        "import sys, time, subprocess; from pathlib import Path\n"
        "from l2s.run_dir import RunDir\n"
        "with RunDir(Path(sys.argv[1])).lock() as fd:\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], pass_fds=[fd])\n"
        "    print(child.pid, flush=True); time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=root, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    try:
        refused = False
        try:
            with run_dir.lock():
                pass
        except ValueError as error:
            refused = "another run is working" in str(error) and f"have not: {child})" in str(error)
        assert refused
    finally:
        os.kill(child, signal.SIGKILL)
