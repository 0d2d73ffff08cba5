"""ZeRO-2 and ZeRO-3 on ranks of DeepSpeed's CPU accelerator, against one process.

Skipped without DeepSpeed, which the environment of `make setup` does not hold.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from l2s.config import ExperimentConfig
from l2s.jsonl import Row, load_jsonl, write_jsonl
from l2s.run_dir import RunDir
from l2s.runner.executors import run_stage
from l2s.runner.pipeline import STAGES
from support.broken_off import WORDS, broken_off
from support.on_policy import likeliest_tokens, short_trainings

pytestmark = [
    pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed (the extra deepspeed)"),
    pytest.mark.timeout(900),
]
MakeConfig = Callable[..., ExperimentConfig]
HERE = Path(__file__).parent
SFT = {
    "sft_batch_size": 1, "gradient_accumulation_steps": 4, "sft_lr": 1e-2, "save_steps": 1, "heldout_answers": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("sharding", "tuning", "ranks"),
    [
        ("zero2", "full", (2, 1, 2)),
        ("zero2", "lora", (2, 1, 2)),
        ("zero3", "full", (2, 1, 2, 3)),  # three ranks cannot share the weights equally
        ("zero3", "lora", (2, 1, 2)),
    ],
)
def test_any_number_of_ranks_resumes_a_checkpoint(
    sharding: str, tuning: str, ranks: tuple[int, ...], tiny_config: MakeConfig
) -> None:
    split = tiny_config(experiment_name="split", sharding=sharding, tuning=tuning, **SFT)
    whole = tiny_config(experiment_name="whole", tuning=tuning, **SFT)
    for config in (split, whole):
        write_responses(RunDir.of(config))
    for step, number in enumerate(ranks[:-1], start=2):  # each leaves the checkpoint of one more update
        train(split, number, broken_off_at=step)
    train(split, ranks[-1])
    train(whole, 1)

    assert [row["step"] for row in curve(split)] == [*range(1, 6), *range(6)]  # held-out loss from step 0 on
    for left, right in zip(curve(split), curve(whole), strict=True):
        assert left == pytest.approx(right, rel=1e-3)
    torch.testing.assert_close(weights(split), weights(whole), rtol=1e-3, atol=1e-4)
    assert not (RunDir.of(split).sft / "checkpoints").exists()


@pytest.mark.parametrize(
    ("stage", "sharding", "fields"),
    [
        ("sft", "zero2", {"tuning": "qlora"}),
        ("kd", "zero3", {"tuning": "full", "teacher_signal": "online", "kd_init": "base", "kd_lr": 1e-2}),
    ],
)
def test_qlora_and_kd_train_as_one_process(
    stage: str, sharding: str, fields: dict[str, Any], tiny_config: MakeConfig
) -> None:
    split = tiny_config(experiment_name="split", sharding=sharding, **SFT | fields)
    whole = tiny_config(experiment_name="whole", **SFT | fields)
    for config in (split, whole):
        write_responses(RunDir.of(config))
    train(split, 2, stage=stage)
    train(whole, 1, stage=stage)

    for left, right in zip(curve(split, stage), curve(whole, stage), strict=True):
        assert left == pytest.approx(right, rel=1e-3)
    torch.testing.assert_close(weights(split, stage), weights(whole, stage), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("sharding", "tuning"), [("zero2", "full"), ("zero3", "lora")])
def test_bfloat16_stays_near_one_process(sharding: str, tuning: str, tiny_config: MakeConfig) -> None:
    split = tiny_config(experiment_name="split", sharding=sharding, tuning=tuning, dtype="bfloat16", **SFT)
    whole = tiny_config(experiment_name="whole", tuning=tuning, dtype="bfloat16", **SFT)
    for config in (split, whole):
        write_responses(RunDir.of(config))
    train(split, 2)
    train(whole, 1)

    for left, right in zip(curve(split), curve(whole), strict=True):
        assert left == pytest.approx(right, rel=1e-2)
    torch.testing.assert_close(weights(split), weights(whole), rtol=0, atol=2e-2)


@pytest.mark.parametrize(("sharding", "tuning"), [("zero2", "lora"), ("zero3", "full")])
def test_opd_on_two_ranks_trains_as_one_process(sharding: str, tuning: str, tiny_config: MakeConfig) -> None:
    make = short_trainings(
        tiny_config, opd_steps=4, save_steps=1, tuning=tuning, opd_batch_size=2, gradient_accumulation_steps=2
    )
    split, whole = make(experiment_name="split", sharding=sharding), make(experiment_name="whole")
    train(split, 2, stage="opd", broken_off_at=3)
    train(split, 2, stage="opd")
    train(whole, 1, stage="opd")

    assert [row["step"] for row in curve(split, "opd")] == [1, 2, 3, 4]
    for left, right in zip(curve(split, "opd"), curve(whole, "opd"), strict=True):
        assert left == pytest.approx(right, rel=1e-3)
    torch.testing.assert_close(weights(split, "opd"), weights(whole, "opd"), rtol=1e-3, atol=1e-4)


def test_the_plan_of_an_update_is_what_torch_allocates(tmp_path: Path) -> None:
    failure = torchrun(2, str(HERE / "deepspeed_memory.py"), str(tmp_path / "rows.jsonl"))
    assert not failure, failure
    for row in load_jsonl(tmp_path / "rows.jsonl"):
        assert row["planned"] == pytest.approx(row["found"], rel=0.15), row


def train(config: ExperimentConfig, ranks: int, *, stage: str = "sft", broken_off_at: int = 0) -> None:
    """Run the stage, or resume it, on that many ranks."""
    run_dir = RunDir.of(config)
    state: Literal["run", "resume"] = "resume" if (run_dir.arm(stage).root / "checkpoints").exists() else "run"
    run_dir.save_config(config)
    if ranks > 1:
        output = torchrun(ranks, str(HERE / "deepspeed_stage.py"), str(run_dir.root), stage, state, str(broken_off_at))
        assert WORDS in output if broken_off_at else not output, output
        return
    ending = pytest.raises(RuntimeError, match=WORDS) if broken_off_at else nullcontext()
    with ending, broken_off(broken_off_at), likeliest_tokens():
        run_stage(STAGES[stage], config, run_dir, state)


def curve(config: ExperimentConfig, stage: str = "sft") -> list[Row]:
    """The rows of all updates, and with SFT of the loss on what is held out."""
    arm = RunDir.of(config).arm(stage)
    return load_jsonl(arm.metrics) + (load_jsonl(arm.heldout_metrics) if arm.heldout_metrics.exists() else [])


def weights(config: ExperimentConfig, stage: str = "sft") -> dict[str, Tensor]:
    folder = RunDir.of(config).arm(stage).final_model
    return dict(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict())


def write_responses(run_dir: RunDir) -> None:
    rows = [
        {
            "id": f"sum/{number}",
            "messages": [{"role": "user", "content": f"{number} plus {number % 5}?"}],
            "response": "It is " + "so " * (number % 4) + str(number + number % 5),
            "finish_reason": "stop",
        }
        for number in range(20)
    ]
    run_dir.responses.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(run_dir.responses, rows)


def torchrun(ranks: int, *command: str) -> str:
    """What a command on that many ranks prints if it fails; else nothing."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run([*launch, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode()[-12000:] if done.returncode else ""
