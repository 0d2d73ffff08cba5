"""The plan's memory of an update, compared with what torch allocates in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from l2s.config import ExperimentConfig
from l2s.loss import buffers
from l2s.plan import estimates, training_memory
from l2s.plan.hardware import GIB, Hardware
from l2s.plan.model_size import ModelSize
from l2s.plan.parts import Memory, Texts
from l2s.plan.situation import Situation
from l2s.plan.training_memory import Cut, sharding_of
from support.made_up_student import ANSWER, CPU, LENGTH, SEQUENCES, made_up_batch, made_up_size, made_up_student
from support.torch_memory import peak_bytes


def update_of(config: ExperimentConfig, vocabulary: int, micro_batches: int) -> Callable[[], None]:
    """An update of SFT, ready to run: forward and backward passes of equal micro-batches, and AdamW."""
    student, batch = made_up_student(config, vocabulary), made_up_batch()
    optimizer = torch.optim.AdamW([one for one in student.parameters() if one.requires_grad], fused=True)

    def run() -> None:
        for _ in range(micro_batches):
            student(**batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


@pytest.mark.parametrize("vocabulary", [512, 20_000])  # the gradients or the head fill the memory
@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_an_update_takes_what_torch_allocates(
    tuning: Literal["full", "lora"],
    micro_batches: int,
    vocabulary: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training_memory, "HEAP_KEEPS", 0)  # what malloc keeps is not seen by the profile
    monkeypatch.setattr(buffers, "_allocate", lambda size, dtype: torch.empty(size, dtype=dtype))  # seen by the profile
    buffers.release_buffers()
    config = ExperimentConfig(tuning=tuning, dtype="float32", gradient_checkpointing=False, device="cpu", lora_r=4)
    size = made_up_size(config, vocabulary, tmp_path)
    run = update_of(config, vocabulary, micro_batches)
    trained = size.parameters if tuning == "full" else 100_000
    run()  # AdamW's moments exist from here on
    buffers.release_buffers()
    situation = Situation(config, CPU, size, size, lora_parameters=trained)
    micro = Cut(micro_batches, SEQUENCES * LENGTH, SEQUENCES * ANSWER)
    planned = training_memory.training_memory(situation, micro, "none", models=1)
    there_before = planned.weights + 8 * trained
    found = peak_bytes(run)
    buffers.release_buffers()
    assert planned.total - there_before == pytest.approx(found, rel=0.15)


def test_tokens_per_batch_bounds_a_micro_batch_as_the_trainer_cuts_it() -> None:
    texts = [Texts("made up", 1000, 100, 200, 50, 100)]
    size: Any = None

    def cut(**fields: Any) -> Cut:
        situation = Situation(ExperimentConfig(max_new_tokens=100, **fields), CPU, size, size, lora_parameters=1)
        return estimates._cut(situation, texts, 32, 64)

    assert cut() == Cut(2, 32 * 300, 32 * 100)
    assert cut(tokens_per_batch=600) == Cut(16, 2 * 300, 2 * 100)
    assert cut(tokens_per_batch=100) == Cut(64, 300, 100)  # a sequence is never cut
    assert cut(tokens_per_batch=10**9) == Cut(1, 64 * 300, 64 * 100)


# 1,000 weights: 4 layers of 200, an embedding and a head of 100
TINY = ModelSize(
    parameters=1000, expert_parameters=0, linear_parameters=800, bytes=2000, element_bytes=2, head=100, tied=False,
    layers=4, hidden=1, vocabulary=100, intermediate=1, queries=1, keys=1, num_experts=0, experts_per_token=0,
    checkpoint_bytes=2000,
)  # fmt: skip
GPU = Hardware("gpu", True, 80 * GIB, 6e14, 2.8e12, 2.8e12, 1e-3, "made up")


@pytest.mark.parametrize(
    ("fields", "element_bytes", "ranks", "sharding", "weights", "optimizer", "buffers"),
    [
        # full: master 4, moments and gradient 12, and 2 for the copy that products read
        ({"tuning": "full"}, 2, 1, "none", 4000, 12_000, 2000),
        ({"tuning": "full", "sharding": "ddp"}, 2, 4, "ddp", 4000, 12_000, 2000 + 4000),
        # of 200 outside the layers 2; of a layer 2 now, 2 next, 2 of gradient, 4 on the way
        ({"tuning": "full"}, 2, 4, "fsdp2", 1000, 3000, 2 * 200 + 10 * 200),
        ({"tuning": "full"}, 4, 4, "fsdp2", 1000, 3000, 4 * 200 + 16 * 200),
        # beside the masters what products read; a bucket twice, flat and in float32, or with ZeRO-3 twice in float32
        ({"tuning": "full", "sharding": "zero2"}, 2, 4, "zero2", 1000 + 2000, 3000, 4000 + 2000 + 4000),
        ({"tuning": "full", "sharding": "zero2"}, 4, 4, "zero2", 1000 + 4000, 3000, 8000 + 4000),
        ({"tuning": "lora", "sharding": "zero2"}, 2, 4, "zero2", 2000 + 30 + 60, 90, 300),
        ({"tuning": "full", "sharding": "zero3"}, 2, 4, "zero3", 1000 + 500, 3000, 8000 + 2000),
        ({"tuning": "lora", "sharding": "zero3"}, 4, 4, "zero3", 1000 + 30 + 30, 90, 240 + 4000),
        # LoRA of 30 weights; NF4 takes half a byte of the 800, and a byte for 64 of them
        ({"tuning": "lora"}, 2, 1, "none", 2120, 360, 0),
        ({"tuning": "lora"}, 2, 4, "ddp", 2120, 360, 120),
        ({"tuning": "lora", "sharding": "fsdp2"}, 2, 4, "fsdp2", 500 + 30, 90, 2 * 200 + 4 * 200),
        ({"tuning": "qlora"}, 2, 4, "ddp", 400 + 400 + 12 + 120, 360, 120),
    ],
)
def test_what_ranks_hold_to_work_together(
    fields: dict[str, Any], element_bytes: int, ranks: int, sharding: str, weights: float, optimizer: float,
    buffers: float,
) -> None:  # fmt: skip
    size = replace(TINY, element_bytes=element_bytes, bytes=element_bytes * 1000)
    situation = Situation(ExperimentConfig(**fields), GPU, size, size, lora_parameters=30, processes=ranks)
    kind: Any = "nf4" if fields["tuning"] == "qlora" else "none"
    found = training_memory._of_an_update(situation, Cut(2, 0, 0), kind, models=1)
    assert sharding_of(situation) == sharding
    assert (found.weights, found.optimizer, found.buffers) == (weights, optimizer, buffers)


def test_gradients_that_deepspeed_flattens_count_where_they_exceed_the_backward_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("l2s.training.sharding.BUCKET", 10)
    situation = Situation(
        ExperimentConfig(tuning="full", sharding="zero2"), GPU, TINY, TINY, lora_parameters=30, processes=4
    )
    found = training_memory._of_an_update(situation, Cut(2, 0, 0), "none", models=1)
    assert (found.activations, found.buffers) == (8 * 100, 10 * 10)  # the head's gradient, and buckets of 10
    assert found.optimizer == 3000 + (1000 - 800 - 100)


@pytest.mark.parametrize(
    ("sharding", "activations", "buffers", "expected"),
    [
        ("zero3", 500, 100, 1500),  # of 2,000 bytes of the whole student 500 fit where activations were
        ("zero3", 500, 1800, 1800),
        ("zero2", 500, 100, 100),  # it holds the whole student anyway
    ],
)
def test_a_student_in_shards_is_whole_while_it_answers(
    sharding: str, activations: float, buffers: float, expected: float
) -> None:
    config = ExperimentConfig(**{"tuning": "lora", "sharding": sharding})
    situation = Situation(config, GPU, TINY, TINY, lora_parameters=30, processes=4)
    training = Memory(activations=activations, buffers=buffers)
    assert training_memory.with_answers(training, situation).buffers == expected


def test_opd_is_planned_with_the_sharding_that_it_uses(tmp_path: Path) -> None:
    def plan(**fields: Any) -> Any:
        config = ExperimentConfig(tuning="full", **fields)
        size = made_up_size(config, 512, tmp_path)
        return estimates._opd(Situation(config, GPU, size, size, lora_parameters=1, processes=4)).memory

    assert plan() == plan(sharding="ddp")  # `auto` would be fsdp2, which OPD does not use
    assert plan(sharding="zero2") != plan(sharding="ddp")


def test_a_rank_that_loads_the_whole_student_needs_room_for_it() -> None:
    situation = Situation(ExperimentConfig(tuning="full"), GPU, TINY, TINY, lora_parameters=30, processes=1000)
    found = training_memory.training_memory(situation, Cut(2, 0, 0), "none", models=1)
    assert found.total == 4 * 1000  # its shards take 16, the head's gradient 800, what is gathered 2,400


def test_buckets_of_ddp_are_as_large_as_the_gradients(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(500, 400), torch.nn.Linear(400, 300, bias=False))
    trained = sum(weight.numel() for weight in model.parameters())

    def wrap() -> None:  # without the copy of the weights for the other ranks, which lives until a thread lets it go
        kept.append(DistributedDataParallel(model, init_sync=False))

    kept: list[Any] = []
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        found = peak_bytes(wrap)
    finally:
        dist.destroy_process_group()
    assert found == pytest.approx(4 * trained, rel=0.02)
