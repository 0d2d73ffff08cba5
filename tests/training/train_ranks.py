"""Run by torchrun from test_invariances.py: the same objective, split over processes.

Leaves metrics.jsonl of trainings with the trainer (DDP). With two ranks also the gradients of one batch under DDP and
FSDP2, and students that were wrapped while they learned and were saved.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from l2s.chat import ChatRenderer, load_renderer
from l2s.config import ExperimentConfig
from l2s.devices import leave_others, process_count, process_rank
from l2s.models.load import load_model, load_student_for_training
from l2s.models.save import save_trained_student
from l2s.run_dir import RunDir
from l2s.sequences import Collator, SequenceDataset, TrainingSequence, load_sequences
from l2s.signals.teachers import OnlineTeacher
from l2s.training.heldout import HeldOutLoss
from l2s.training.kd import kd_objective
from l2s.training.student import StudentWithLoss
from l2s.training.trainer import Schedule, train

SAVED = (("fsdp2", "full"), ("fsdp2", "lora"), ("ddp", "lora"))  # tuning and wrapper of the trained and saved students


def build_student(config: ExperimentConfig) -> StudentWithLoss:
    return StudentWithLoss(load_student_for_training(config.student_model, config), kd_objective(config))


def train_steps(config: ExperimentConfig, sequences: Sequence[TrainingSequence], collator: Collator) -> None:
    teacher = OnlineTeacher(load_model(config.teacher_model, config))
    schedule = Schedule(config.kd_epochs, config.kd_batch_size, config.kd_lr)
    dataset = SequenceDataset(sequences)
    train(build_student(config), dataset, collator, config, schedule, RunDir.of(config).kd, teacher=teacher)


def train_short_of_memory(config: ExperimentConfig, sequences: Sequence[TrainingSequence], collator: Collator) -> None:
    """Train while memory runs out on the last rank only, in its second and fifth forward pass."""
    calls = 0
    forward = StudentWithLoss.forward

    def short_of_memory(self: StudentWithLoss, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls in (2, 5) and process_rank() == process_count() - 1:
            raise torch.OutOfMemoryError("as CUDA says it")
        return forward(self, *args, **kwargs)

    StudentWithLoss.forward = short_of_memory  # type: ignore[method-assign]
    try:
        train_steps(
            config.model_copy(update={"experiment_name": f"{config.experiment_name}-short"}), sequences, collator
        )
    finally:
        StudentWithLoss.forward = forward  # type: ignore[method-assign]


def gradients(
    config: ExperimentConfig, sequences: Sequence[TrainingSequence], collator: Collator, wrapping: str
) -> dict[str, Tensor]:
    """Gradients of one batch of all sequences, of which each rank gets its share."""
    student = build_student(config)
    backward(wrap(student, wrapping), config, sequences, collator)
    return {name: whole(weight.grad) for name, weight in student.named_parameters()}


def step_and_save(
    config: ExperimentConfig, sequences: Sequence[TrainingSequence], renderer: ChatRenderer, folder: Path, wrapping: str
) -> list[dict[str, float]]:
    """Train on one batch, measure the loss on it as on held-out answers, save the student and return the loss."""
    student = build_student(config)
    wrapped = wrap(student, wrapping)
    teacher = OnlineTeacher(load_model(config.teacher_model, config))
    held_out = HeldOutLoss(SequenceDataset(sequences), Collator(renderer.pad_token_id), 8, teacher, folder)
    terms = [held_out.measure(wrapped, torch.device("cpu"))]
    optimizer = torch.optim.SGD([weight for weight in student.parameters() if weight.requires_grad], lr=0.1)
    for _ in range(2):  # the first gradient of LoRA's A is zero
        backward(wrapped, config, sequences, Collator(renderer.pad_token_id))
        optimizer.step()
        optimizer.zero_grad()
        terms.append(held_out.measure(wrapped, torch.device("cpu")))
    save_trained_student(student.student, renderer.tokenizer, folder, config)
    return terms


def wrap(student: StudentWithLoss, wrapping: str) -> nn.Module:
    if wrapping == "ddp":
        return DistributedDataParallel(student)
    if wrapping == "fsdp2":
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in student.causal_lm.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(student, mesh=mesh)
    return student


def backward(
    wrapped: nn.Module, config: ExperimentConfig, sequences: Sequence[TrainingSequence], collator: Collator
) -> None:
    """Put the gradient of all sequences, of which each rank gets its share, into the weights."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    items = [{"input_ids": item.input_ids, "labels": item.labels} for item in sequences]
    num_items = sum(item.num_response_tokens for item in sequences)
    batch = collator(items[rank::world])
    teacher = OnlineTeacher(load_model(config.teacher_model, config))
    outputs = wrapped(**batch, targets=teacher.targets(batch), num_items_in_batch=num_items)
    (outputs["loss"] * world).backward()  # ranks are averaged


def whole(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient


def main(config: ExperimentConfig, folder: Path) -> None:
    renderer = load_renderer(config, "student_model")
    sequences, _ = load_sequences(RunDir.of(config).responses, renderer, config)
    collator = Collator(renderer.pad_token_id)
    train_steps(config, sequences, collator)
    train_short_of_memory(config, sequences, collator)
    if process_count() != 2:
        return
    for wrapping in ("ddp", "fsdp2"):
        result = gradients(config, sequences, collator, wrapping)
        if dist.get_rank() == 0:
            torch.save(result, folder / f"{wrapping}.pt")
    for wrapping, tuning in SAVED:
        tuned = config.model_copy(update={"tuning": tuning})
        terms = step_and_save(tuned, sequences, renderer, folder / f"{wrapping}-{tuning}", wrapping)
        if dist.get_rank() == 0:
            torch.save(terms, folder / f"{wrapping}-{tuning}-heldout.pt")


if __name__ == "__main__":
    main(ExperimentConfig.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
    leave_others()
