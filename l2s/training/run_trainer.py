"""Run a transformers Trainer for any arm: settings, resume, result, and the saved student.

SFT and KD run our DistillationTrainer here; on-policy distillation runs TRL's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.devices import choose_dtype, gather_from_all, peak_memory_bytes, pick_device
from l2s.durable import flush, writing
from l2s.errors import UserError
from l2s.hub import first_line
from l2s.interrupts import request
from l2s.jsonl import Row, recover_jsonl
from l2s.metrics import TrainingCost
from l2s.models.save import save_trained_student
from l2s.run_dir import ArmDir
from l2s.training.checkpoints import last_whole_checkpoint, restore_logs, step_of
from l2s.training.keeping import KeepCheckpoints
from l2s.training.sharding import Sharding, check_checkpoint
from l2s.warning import Warned, warned

EXPLODED = 10.0  # times the loss of guessing; a loss that clipping bounds does not come back from there
ROSE = 1.5  # times the loss of the first steps, from which the last ones are called a rise
COMPARED_STEPS = 10


@dataclass(frozen=True)
class TrainingResult:
    """Steps, time, tokens and final loss of a training."""

    steps: int
    seconds: float  # of this process; a resumed run does not count earlier processes
    tokens_per_second: float  # response tokens seen in these seconds
    num_tokens: int  # response tokens of all steps
    final_loss: float
    warnings: list[Warned]
    ranks: int
    sharding: Sharding
    global_batch: int  # sequences of an update, on all ranks together


def training_settings(config: ExperimentConfig, batch_size: int, learning_rate: float, folder: Path) -> dict[str, Any]:
    """The arguments of transformers' TrainingArguments, or a subclass, that all arms share."""
    return {
        "output_dir": str(ArmDir(folder).checkpoints),
        "per_device_train_batch_size": batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "learning_rate": learning_rate,
        # transformers' "constant" has no warm-up
        "lr_scheduler_type": "constant_with_warmup" if config.lr_scheduler == "constant" else config.lr_scheduler,
        "warmup_steps": config.warmup_ratio,  # below 1: a share of all steps
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "bf16": choose_dtype(config).name == "bfloat16",
        "use_cpu": pick_device(config).type == "cpu",
        "seed": config.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "report_to": config.report_to.split(","),
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "average_tokens_across_devices": True,
        "ddp_find_unused_parameters": False,
        "ddp_broadcast_buffers": False,  # ranks only wait for each other once all have their gradients
    }


def run_trainer(trainer: Trainer, folder: Path, global_batch: int, sharding: Sharding) -> TrainingResult:
    """Run a trainer made with `training_settings`, which appends a row for each step to folder/metrics.jsonl.

    A training that is asked to end saves a checkpoint first. A killed one resumes from its last complete checkpoint;
    rows of later steps are dropped.
    """
    metrics_file, checkpoints = ArmDir(folder).metrics, ArmDir(folder).checkpoints
    found = last_whole_checkpoint(checkpoints) if trainer.is_world_process_zero() else None
    name = gather_from_all(found.name if found else None)[0]  # on another machine the folder may be another
    checkpoint = checkpoints / name if name else None
    done = step_of(checkpoint) if checkpoint else 0
    if checkpoint:
        check_checkpoint(checkpoint)
    trainer.remove_callback(PrinterCallback)  # TrainingProgress takes its place
    if trainer.is_world_process_zero():
        for made in (folder, checkpoints):  # by the trainer, which does not flush; what lies in a lost folder is lost
            flush(made.parent)
        restore_logs(ArmDir(folder), checkpoint)
    trainer.add_callback(KeepCheckpoints)
    with request.deferring(), writing(checkpoints), _refusing_pickles(checkpoint):
        output = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    # rank 0 wrote the rows, and the file of another rank may lie on another machine
    rows = gather_from_all(recover_jsonl(metrics_file) if trainer.is_world_process_zero() else [])[0]
    seconds = float(output.metrics["train_runtime"])
    return TrainingResult(
        steps=output.global_step,
        seconds=seconds,
        tokens_per_second=sum(row["num_tokens"] for row in rows if row["step"] > done) / seconds,
        num_tokens=sum(row["num_tokens"] for row in rows),
        final_loss=rows[-1]["loss"],
        warnings=_warnings(rows),
        ranks=trainer.args.world_size,
        sharding=sharding,
        global_batch=global_batch,
    )


@contextmanager
def _refusing_pickles(checkpoint: Path | None) -> Iterator[None]:
    """Name the checkpoint whose files hold more than tensors and numbers: torch is asked to build nothing else of them.

    Raises:
        UserError: it does.
    """
    try:
        yield
    except UnpicklingError as error:
        raise UserError(
            f"{checkpoint}: a file in it holds a pickle that could run code, which no training writes "
            f"({first_line(error)}); remove this folder, and the same command resumes at the checkpoint before it"
        ) from None


def check_step(logs: Mapping[str, float], step: int, loss_of_guessing: float) -> None:
    """Stop a training that cannot recover: its loss or gradient is NaN or infinite, or its loss has exploded.

    Args:
        logs: the loss and its terms in nats a token, and the gradient's norm.
        step: the step, from 1 on.
        loss_of_guessing: the loss of a student to which all tokens are equally likely.

    Raises:
        UserError: names the step, what was found and settings that help.
    """
    names = {"ce": "cross-entropy", "divergence": "divergence"}
    terms = ", ".join(f"{words} {logs[name]:.4g}" for name, words in names.items() if name in logs)
    for name, words in (("loss", "loss"), ("grad_norm", "gradient norm")):
        if not math.isfinite(logs[name]):
            raise UserError(f"the {words} of step {step} is {logs[name]} ({terms}); {_remedy(step)}")
    if logs["loss"] > EXPLODED * loss_of_guessing:
        raise UserError(
            f"the loss of step {step} is {logs['loss']:.4g} ({terms}), more than {EXPLODED:g} times that of a student "
            f"that guesses, {loss_of_guessing:.3g}; {_remedy(step)}"
        )


def _remedy(step: int) -> str:
    if step == 1:  # the loss is that of the student before its first update
        return (
            "no update came before, so a model or the teacher's signals are damaged, or --dtype is too narrow: train "
            "with --dtype float32, and check the files of both models"
        )
    return "lower the learning rate (--sft_lr, --kd_lr, --opd_lr) or --max_grad_norm, or train with --dtype float32"


def _warnings(rows: Sequence[Row]) -> list[Warned]:
    """What the losses of all steps show."""
    if len(rows) < 2 * COMPARED_STEPS:
        return []
    steps = max(COMPARED_STEPS, len(rows) // 5)
    before, after = _mean_loss(rows[:steps]), _mean_loss(rows[-steps:])
    return [warned("loss_rose", before=before, after=after)] if after > ROSE * before else []


def _mean_loss(rows: Sequence[Row]) -> float:
    """The mean over all response tokens: a step of few, such as short answers of one domain, says little."""
    total = sum(row["loss"] * row["num_tokens"] for row in rows)
    return float(total / sum(row["num_tokens"] for row in rows))


def _check_weights(student: nn.Module) -> None:
    """Refuse to save a student with weights that are not numbers, which the loss of its last step could not show.

    Raises:
        UserError: names the first such weight.
    """
    for name, weight in student.named_parameters():
        # of a sharded weight this rank's part; ds_tensor is that of ZeRO-3
        own: Tensor = weight.to_local() if isinstance(weight, DTensor) else getattr(weight, "ds_tensor", weight)
        if weight.requires_grad and not torch.isfinite(own).all():
            raise UserError(f"after the last step, the weight {name} holds NaN or infinity; {_remedy(2)}")


def save_student(
    student: nn.Module, result: TrainingResult, renderer: ChatRenderer, config: ExperimentConfig, folder: Path
) -> TrainingCost:
    """Save a trained student to `folder` and return the cost of its training."""
    _check_weights(student)
    peak = peak_memory_bytes(next(student.parameters()).device)
    save_trained_student(student, renderer.tokenizer, folder, config, ends=renderer.ends)
    return {
        "steps": result.steps,
        "seconds": result.seconds,
        "tokens_per_second": result.tokens_per_second,
        "peak_memory_bytes": peak,
        "final_loss": result.final_loss,
        "merge_weight": config.merge_weight,
        "ranks": result.ranks,
        "sharding": result.sharding,
        "global_batch": result.global_batch,
    }
