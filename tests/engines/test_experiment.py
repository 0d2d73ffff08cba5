"""A whole tiny experiment in vLLM: killed while the teacher answers, resumed to the report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from l2s.jsonl import load_jsonl

ROOT = Path(__file__).resolve().parents[2]
ITEMS = 24


def command(teacher: str, student: str, folder: Path) -> list[str]:
    flags = {
        "experiment_name": "tiny", "output_dir": folder, "processed_dir": folder / "processed", "engine": "vllm",
        "teacher_model": teacher, "student_model": student, "device": "cpu", "dtype": "float32",
        "math_source": "synthetic", "code_train_source": "humaneval", "math_train_size": ITEMS, "code_train_size": 0,
        "aiops_train_size": 0, "math_eval_size": 4, "code_eval_size": 0, "aiops_eval_size": 0,
        "max_new_tokens": 300, "max_length": 2048, "tuning": "lora", "lora_r": 4, "gradient_accumulation_steps": 1,
        "arms": "kd", "kd_init": "base", "fidelity_size": 4,
    }  # fmt: skip
    return [sys.executable, "-m", "l2s", "run", "--run_all", *(f"--{name}={value}" for name, value in flags.items())]


@pytest.mark.timeout(3600)  # on busy cores; minutes on idle ones
def test_a_killed_experiment_is_resumed_to_the_report(dense: str, tied: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    run = command(dense, tied, tmp_path)
    first = subprocess.Popen(run, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "tiny" / "sft" / "answers.partial" / "try-1.jsonl"
    deadline = time.monotonic() + 1800
    while not (log.exists() and log.read_bytes().count(b"\n")):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kill_family(first)
    kept = log.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    done = subprocess.run(run, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    responses = load_jsonl(tmp_path / "tiny" / "sft" / "sft_train_data.jsonl")
    assert len({row["id"] for row in responses}) == len(responses) == ITEMS
    before = {row["id"]: row["text"] for row in map(json.loads, kept.splitlines())}
    assert before
    assert before.items() <= {row["id"]: row["response"] for row in responses}.items()
    results = json.loads((tmp_path / "tiny" / "results.json").read_text())
    assert set(results["evaluation"]) == {"teacher", "student_base", "student_kd"}
    assert results["fidelity"]["student_base"]["mean_kl"] > 0.01
    for manifest in (tmp_path / "tiny" / "manifests").glob("*.json"):
        metrics = json.loads(manifest.read_text())["metrics"]
        if manifest.stem.startswith(("generate", "score", "evaluate")):
            assert metrics["engine"]["name"] == "vllm"


def kill_family(process: subprocess.Popen[bytes]) -> None:
    """Kill a run and the processes that it started, without giving them time to clean up."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=30)
    process.wait()
