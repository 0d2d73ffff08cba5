"""ZeRO-2 and ZeRO-3 on two ranks of DeepSpeed's CPU accelerator, broken off and resumed, against one process.

Skipped without DeepSpeed, which the environment of `make setup` does not hold.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from l2s.config import ExperimentConfig
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.run_dir import RunDir
from l2s.runner.executors import run_stage
from l2s.runner.pipeline import STAGES

pytestmark = [
    pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed (the extra deepspeed)"),
    pytest.mark.timeout(900),
]
MakeConfig = Callable[..., ExperimentConfig]


@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_two_ranks_broken_off_and_resumed_train_as_one_process(
    sharding: str, tuning: str, tiny_config: MakeConfig
) -> None:
    fields = {"sft_batch_size": 4, "sft_lr": 1e-2, "save_steps": 1, "tuning": tuning}
    two = tiny_config(experiment_name="two", sharding=sharding, **fields)
    one = tiny_config(experiment_name="one", **fields)
    for config in (two, one):
        write_responses(RunDir.of(config))
        RunDir.of(config).save_config(config)
    stage = str(Path(__file__).parent / "deepspeed_stage.py")
    assert "broken off on purpose" in torchrun(2, stage, str(RunDir.of(two).root), "run")
    failure = torchrun(2, stage, str(RunDir.of(two).root), "resume")
    assert not failure, failure
    run_stage(STAGES["sft"], one, RunDir.of(one), "run")

    curves = [load_jsonl(RunDir.of(config).sft / "metrics.jsonl") for config in (two, one)]
    assert [row["step"] for row in curves[0]] == [1, 2, 3]
    for left, right in zip(*curves, strict=True):
        assert left == pytest.approx(right, rel=1e-3)
    weights = [AutoModelForCausalLM.from_pretrained(RunDir.of(config).sft_model).state_dict() for config in (two, one)]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-4)
    assert not (RunDir.of(two).sft / "checkpoints").exists()


def write_responses(run_dir: RunDir) -> None:
    rows = [
        {
            "id": f"sum/{number}",
            "messages": [{"role": "user", "content": f"{number} plus {number % 5}?"}],
            "response": "It is " + "so " * (number % 4) + str(number + number % 5),
            "finish_reason": "stop",
        }
        for number in range(12)
    ]
    run_dir.responses.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(run_dir.responses, rows)


def torchrun(ranks: int, *command: str) -> str:
    """What a command on that many ranks prints if it fails; else nothing."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": root}
    done = subprocess.run([*launch, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode()[-6000:] if done.returncode else ""
