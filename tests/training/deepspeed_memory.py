"""Run by torchrun from test_deepspeed.py: the memory of an update under ZeRO on CPU ranks, beside what the plan says.

Argument: the file to which rank 0 writes a row for each case.
"""

from __future__ import annotations

import gc
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import deepspeed  # type: ignore[import-not-found]
import torch

from l2s.config import ExperimentConfig
from l2s.devices import process_count, process_rank
from l2s.jsonl import write_jsonl
from l2s.loss import buffers
from l2s.plan import training_memory
from l2s.plan.situation import Situation
from l2s.plan.training_memory import Cut
from l2s.training import sharding
from support.made_up_student import ANSWER, CPU, LENGTH, SEQUENCES, made_up_batch, made_up_size, made_up_student
from support.torch_memory import peak_bytes

CASES: list[tuple[Literal[2, 3], Literal["full", "lora"], str]] = [
    (2, "full", "float32"),
    (2, "full", "bfloat16"),
    (2, "lora", "float32"),
    (3, "full", "float32"),
    (3, "full", "bfloat16"),
    (3, "lora", "float32"),
]
VOCABULARY = 512
UPDATES = 3  # ZeRO-3 learns the order of weights in the first ones


def found_bytes(config: ExperimentConfig, vocabulary: int, stage: Literal[2, 3]) -> tuple[int, int]:
    """Peak memory of an update on this rank, weights included, and the number of trained weights."""
    before = tensor_bytes()
    student, batch = made_up_student(config, vocabulary), made_up_batch()
    trained = sum(weight.numel() for weight in student.parameters() if weight.requires_grad)
    settings = sharding.zero_config(config, stage, trained)
    settings |= {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1}
    settings["zero_optimization"] |= {"stage3_param_persistence_threshold": 0} if stage == 3 else {}
    optimizer = torch.optim.AdamW([one for one in student.parameters() if one.requires_grad], fused=True)
    engine, *_ = deepspeed.initialize(model=student, optimizer=optimizer, config=settings)

    def update() -> None:
        engine.backward(engine(**batch)["loss"])
        engine.step()

    for _ in range(UPDATES):
        update()
    buffers.release_buffers()
    gc.collect()
    held = tensor_bytes() - before
    peak = peak_bytes(update)
    buffers.release_buffers()
    engine.destroy()
    return held + peak, trained


def tensor_bytes() -> int:
    """The size of all tensors of this process."""
    gc.collect()
    storages = [one.untyped_storage() for one in gc.get_objects() if isinstance(one, torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def planned_bytes(config: ExperimentConfig, vocabulary: int, trained: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        size = made_up_size(config, vocabulary, Path(folder))
    situation = Situation(config, CPU, size, size, lora_parameters=trained, processes=process_count())
    micro = Cut(1, SEQUENCES * LENGTH, SEQUENCES * ANSWER)
    return training_memory._of_an_update(situation, micro, "none", models=1).total


if __name__ == "__main__":
    deepspeed.init_distributed("gloo")
    shared: dict[str, Any] = {"device": "cpu", "gradient_checkpointing": False, "lora_r": 4}
    rows = []
    with (
        mock.patch.object(sharding, "BUCKET", 300_000),  # a tenth of the weights
        mock.patch.object(training_memory, "HEAP_KEEPS", 0),  # the profile does not see what malloc keeps
        mock.patch.object(buffers, "_allocate", lambda size, dtype: torch.empty(size, dtype=dtype)),  # but this
    ):
        for stage, tuning, dtype in CASES:
            config = ExperimentConfig(tuning=tuning, **shared | {"dtype": dtype, "sharding": f"zero{stage}"})
            found, trained = found_bytes(config, VOCABULARY, stage)
            planned = planned_bytes(config, VOCABULARY, trained)
            rows.append({"case": f"{stage} {tuning} {dtype}", "found": found, "planned": planned})
    if process_rank() == 0:
        write_jsonl(Path(sys.argv[1]), rows)
