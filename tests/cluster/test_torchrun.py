"""Without Ray: one stage as the ranks of a torchrun on two nodes, which are two torchruns on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from l2s.config import ExperimentConfig
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.run_dir import Manifest, RunDir
from l2s.runner.executors import run_stage
from l2s.runner.pipeline import STAGES
from l2s.signals.store import SignalIndex
from support.ray_nodes import ROOT, WAIT_S

pytest.importorskip("ray", reason="takes a while; `make test-cluster` runs it")
TEXT = (ROOT / "docs" / "SCALING.md").read_text(encoding="utf-8")


def experiment(folder: Path, models: Path, name: str) -> tuple[ExperimentConfig, RunDir]:
    config = ExperimentConfig(
        experiment_name=name, output_dir=folder, teacher_model=str(models / "teacher"), device="cpu", dtype="float32",
        student_model=str(models / "student"), tuning="lora", lora_r=4, max_new_tokens=16, max_length=512,
        gradient_accumulation_steps=1, sft_batch_size=4, sft_epochs=2, heldout_answers=0, save_steps=2,
    )  # fmt: skip
    run_dir = RunDir.of(config)
    run_dir.responses.parent.mkdir(parents=True)
    rows = [
        {"id": f"n/{n}", "messages": [{"role": "user", "content": f"Say {n}."}], "response": "so " * (n % 4) + str(n),
         "finish_reason": "stop"}
        for n in range(16)
    ]  # fmt: skip
    write_jsonl(run_dir.responses, rows)
    run_dir.save_config(config)
    return config, run_dir


def on_two_nodes(run_dir: RunDir, stage: str, port: int) -> None:
    """The command of docs/SCALING.md on two nodes with a process each."""
    shown = TEXT.partition("    torchrun ")[2].partition("\n\n")[0].replace("\\\n", " ").split()
    changes = {"8": "1", "HOST:29500": f"127.0.0.1:{port}", "outputs/NAME": str(run_dir.root), "sft": stage}
    command = [sys.executable, "-m", "torch.distributed.run", "--local_addr", "127.0.0.1"]
    command += [changes.get(word, word) for word in shown]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    started = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    for node in started:
        printed = node.communicate(timeout=WAIT_S)[0].decode()
        assert node.returncode == 0, printed


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.timeout(900)
def test_a_training_on_two_nodes_is_that_of_one_process(models: Path, port: int, tmp_path: Path) -> None:
    config, alone = experiment(tmp_path, models, "alone")
    _, both = experiment(tmp_path, models, "both")
    run_stage(STAGES["sft"], config, alone, "run")
    on_two_nodes(both, "sft", port)
    ours, theirs = (load_jsonl(run_dir.arm("sft").metrics) for run_dir in (both, alone))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    assert all(abs(a["loss"] - b["loss"]) <= 1e-5 * b["loss"] for a, b in zip(ours, theirs, strict=True))
    assert Manifest.load(both.manifest("sft")) is not None


@pytest.mark.timeout(900)
def test_scoring_on_two_nodes_gives_the_signals_of_one_process(models: Path, port: int, tmp_path: Path) -> None:
    config, alone = experiment(tmp_path, models, "alone")
    _, both = experiment(tmp_path, models, "both")
    run_stage(STAGES["score"], config, alone, "run")
    on_two_nodes(both, "score", port)
    ours, theirs = (SignalIndex.load(run_dir.teacher_signals) for run_dir in (both, alone))
    assert ours == theirs
