"""A whole experiment whose teacher answers from a real vLLM server, killed and restarted while it answers.

The module below is what `vllm serve` runs; that command also asks for the version of a package that the CPU build
lacks.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from l2s.jsonl import load_jsonl

ROOT = Path(__file__).resolve().parents[2]
ITEMS = 24
ANSWERED = 4  # answers on disk when the server is killed
START_SECONDS = 1200


class Server:
    """vLLM's OpenAI-compatible server of one model on a port of loopback."""

    def __init__(self, model: str, log: Path) -> None:
        self.model, self.log = model, log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [
            "--model",
            self.model,
            "--served-model-name",
            "teacher",
            "--host",
            "127.0.0.1",
            "--dtype",
            "float32",
        ]
        limits = ["--port", str(self.port), "--max-model-len", "1024", "--enforce-eager", "--max-num-seqs", "4"]
        settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments, *limits],
                env=os.environ | settings, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        """Return when the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2)
            except OSError:
                time.sleep(0.3)
            else:
                return
        raise AssertionError(self.log.read_text()[-3000:])

    def kill(self) -> None:
        """Kill it with all its processes, without giving them time to clean up."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(dense: str, tmp_path: Path) -> Iterator[Server]:
    running = Server(dense, tmp_path / "server.log")
    running.start()
    running.wait()
    yield running
    running.kill()


def command(teacher: str, student: str, server: Server, folder: Path) -> list[str]:
    flags = {
        "experiment_name": "tiny", "output_dir": folder, "processed_dir": folder / "processed",
        "engine": "endpoint", "teacher_endpoint": f"http://127.0.0.1:{server.port}/v1", "endpoint_model": "teacher",
        "endpoint_concurrency": 4, "endpoint_tries": 100, "teacher_model": teacher, "student_model": student,
        "device": "cpu", "dtype": "float32", "math_source": "synthetic", "code_train_source": "humaneval",
        "math_train_size": ITEMS, "code_train_size": 0, "aiops_train_size": 0, "math_eval_size": 4,
        "code_eval_size": 0, "aiops_eval_size": 0, "max_new_tokens": 300, "max_length": 2048, "tuning": "lora",
        "lora_r": 4, "gradient_accumulation_steps": 1, "arms": "kd", "kd_init": "base", "fidelity_size": 4,
    }  # fmt: skip
    return [sys.executable, "-m", "l2s", "run", "--run_all", *(f"--{name}={value}" for name, value in flags.items())]


@pytest.mark.timeout(3600)  # on busy cores; minutes on idle ones
def test_an_experiment_whose_server_is_killed_while_it_answers_loses_and_doubles_nothing(
    server: Server, dense: str, tied: str, tmp_path: Path
) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    console = tmp_path / "console.txt"
    with console.open("wb") as out:
        run = subprocess.Popen(command(dense, tied, server, tmp_path), env=environment, stdout=out, stderr=out)
    log = tmp_path / "tiny" / "sft" / "answers.partial" / "try-1.jsonl"
    deadline = time.monotonic() + START_SECONDS
    while not log.exists() or log.read_bytes().count(b"\n") < ANSWERED:
        assert run.poll() is None, console.read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server.kill()
    kept = log.read_bytes()
    before = {row["id"]: row["text"] for row in map(json.loads, kept[: kept.rfind(b"\n") + 1].splitlines())}
    server.start()
    server.wait()
    assert run.wait(timeout=START_SECONDS) == 0, console.read_text()[-3000:]
    assert ANSWERED <= len(before) < ITEMS
    experiment = tmp_path / "tiny"
    asked = [row["id"] for row in load_jsonl(experiment / "data" / "train_dataset.jsonl")]
    rows = load_jsonl(experiment / "sft" / "sft_train_data.jsonl")
    assert [row["id"] for row in rows] == asked
    assert len(set(asked)) == ITEMS
    assert before.items() <= {row["id"]: row["response"] for row in rows}.items()  # no answer was asked for again
    assert all(row["num_tokens"] for row in rows)
    results = json.loads((experiment / "results.json").read_text())
    assert set(results["evaluation"]) == {"teacher", "student_base", "student_kd"}
    assert results["fidelity"]["student_kd"]["mean_kl"] > 0.01
    engines = {name: stage["metrics"].get("engine", {}).get("name") for name, stage in results["stages"].items()}
    assert engines["generate"] == "endpoint"
    assert engines["score"] == engines["evaluate_teacher"] == engines["evaluate_student_kd"] == "transformers"
