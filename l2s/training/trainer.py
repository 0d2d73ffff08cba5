"""One trainer for SFT and KD: the arms differ only in the loss (SFT has alpha = 1 and no teacher).

An update is the same on any number of ranks and with any size of micro-batch (updates.py).
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import TrainingArguments
from transformers.trainer_callback import TrainerCallback

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.devices import release_memory
from l2s.errors import UserError
from l2s.jsonl import append_jsonl
from l2s.loss.reference import IGNORE_INDEX
from l2s.metrics import SftMetrics
from l2s.run_dir import ArmDir
from l2s.sequences import TEACHER_PREFIX, Collator, SequenceCounts, SequenceDataset
from l2s.signals.teachers import Teacher
from l2s.training.heldout import HeldOutLoss
from l2s.training.one_device import on_one_device
from l2s.training.progress import TrainingProgress
from l2s.training.ranks import add_gradients, any_rank, get_random_state, is_replicated, set_random_state
from l2s.training.resumable import ResumableTrainer
from l2s.training.run_trainer import TrainingResult, check_step, run_trainer, save_student, training_settings
from l2s.training.sampler import LengthGroupedSampler, group_size
from l2s.training.sharding import choose_sharding, keep_sums_wide, sharding_settings
from l2s.training.student import StudentWithLoss
from l2s.training.updates import Limit, Update, Updates, UpdateSampler

Batch = dict[str, Tensor]
GROW_AFTER = 100  # updates with a halved limit, before the larger one is tried: a failure there costs 1% of the time


class DistillationTrainer(ResumableTrainer):
    """A trainer with a teacher, which writes one row of metrics for each step.

    One step of transformers is a whole update here: its data loader yields the sequences of one update, and this class
    cuts them into micro-batches. So an update can be repeated with smaller ones when memory runs out.
    """

    def __init__(
        self, *args: Any, metrics_file: Path, teacher: Teacher | None, update_size: int, limit: Limit, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        keep_sums_wide(self.accelerator)
        self.metrics_file = metrics_file
        self.teacher = teacher
        self.update_size = update_size
        self.limits = [limit]  # and its halvings, while memory is short
        self.shrunk_at = 0
        self.loss_of_guessing = cast(StudentWithLoss, self.model).loss_of_guessing
        self.updates = Updates(cast(SequenceDataset, self.train_dataset), self.args.process_index, self.args.world_size)
        self._step_sums: dict[str, Tensor] = {}

    def get_train_dataloader(self) -> DataLoader[Update]:
        """Updates in order. accelerate does not prepare it, because it would share it between ranks a second time.

        This process reads them, which takes milliseconds of an update. Workers would need /dev/shm, which is small in a
        container, and Slurm's SIGTERM to all processes would end them, and so the training before its checkpoint.
        """
        group = group_size(self.args.train_batch_size, self.update_size)
        order = LengthGroupedSampler(self.updates.lengths, group, self.args.seed)
        return DataLoader(
            self.updates,
            batch_sampler=UpdateSampler(order, self.update_size),
            collate_fn=lambda update: update,
        )

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Update], int]:
        """The next update, and its number of response tokens on all ranks."""
        update = next(epoch_iterator)
        return [update], self.updates.count_tokens(update)

    def floating_point_ops(self, inputs: Any) -> int:
        """0: transformers would look for tensors in an update to count them."""
        return 0

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Put the gradient of an update into the weights, and return its loss, times the number of ranks.

        If memory runs out on any rank, all ranks repeat the update with micro-batches half as large.

        Raises:
            UserError: a single sequence does not fit.
        """
        self._grow()
        while True:
            random_state = get_random_state()
            result = self._accumulate(model, inputs, num_items_in_batch)
            if result is not None:
                loss, self._step_sums = result
                return loss
            model.zero_grad()
            set_random_state(random_state)
            self._shrink(inputs)

    def _accumulate(self, model: nn.Module, update: Update, num_tokens: int) -> tuple[Tensor, dict[str, Tensor]] | None:
        """Loss and sums over all micro-batches, with their gradient in the weights; None if memory ran out."""
        model.train()
        found: tuple[Tensor, dict[str, Tensor]] | None
        try:
            found = self._add_up(model, update, num_tokens)
        except torch.OutOfMemoryError as error:
            if self.args.world_size > 1 and not is_replicated(model):  # the other ranks wait for this one's shards
                self._refuse_single(update)
                tokens = max(tokens for _, tokens in self.updates.sizes(update, self.limit))
                raise UserError(
                    f"step {self.state.global_step + 1}: out of memory with {self.limit} at a time. Ranks that hold "
                    "shards cannot repeat a step; resume from the last checkpoint with the same command and "
                    f"--tokens_per_batch {tokens // 2}, which changes no update"
                ) from error
            found = None
        if any_rank(found is None, self.args.device):
            return None
        if is_replicated(model):
            add_gradients(model)
        return found

    def _add_up(self, model: nn.Module, update: Update, num_tokens: int) -> tuple[Tensor, dict[str, Tensor]]:
        sums: dict[str, Tensor] = {}
        loss = torch.zeros((), device=self.args.device)
        batches = self.updates.cut(update, self.limit)
        for number, items in enumerate(batches):
            batch = self._prepare_inputs(cast(Any, self.data_collator)(items))
            self.accelerator.gradient_state._set_sync_gradients(number == len(batches) - 1)
            with self.accelerator.no_sync(model) if is_replicated(model) else nullcontext():
                part, outputs = self.compute_loss(model, batch, return_outputs=True, num_items_in_batch=num_tokens)
                self.accelerator.backward(part)
            loss = loss + part.detach()
            outputs["num_tokens"] = (batch["labels"] != IGNORE_INDEX).sum()
            for name in ("ce", "divergence", "num_tokens"):
                sums[name] = sums.get(name, 0) + outputs[name].detach()
        self.accelerator.gradient_state._set_sync_gradients(True)
        return loss * (self.args.world_size if is_replicated(model) else 1), sums

    @property
    def limit(self) -> Limit:
        """The present limit of a micro-batch."""
        return self.limits[-1]

    def _grow(self) -> None:
        """Take back a halving that is long past; the memory may have been needed elsewhere for a while."""
        if len(self.limits) > 1 and self.state.global_step - self.shrunk_at >= GROW_AFTER:
            self.limits.pop()
            self.shrunk_at = self.state.global_step

    def _shrink(self, update: Update) -> None:
        """Halve the limit of a micro-batch, and free the memory of the failed one.

        Raises:
            UserError: it was already a single sequence.
        """
        self._refuse_single(update)
        before = self.limit
        self.limits.append(before.halved())
        self.shrunk_at = self.state.global_step
        release_memory()
        if self.is_world_process_zero():
            step = self.state.global_step + 1
            print(f"step {step}: out of memory with {before} at a time; repeated with {self.limit}", flush=True)

    def _refuse_single(self, update: Update) -> None:
        """End the training where micro-batches cannot be made smaller, on any rank.

        Raises:
            UserError: each holds a single sequence already.
        """
        if all(sequences == 1 for sequences, _ in self.updates.sizes(update, self.limit)):
            longest = max(self.updates.lengths[index] for index in update.indices)
            raise UserError(
                f"step {self.state.global_step + 1}: a sequence of {longest} tokens does not fit in memory by itself; "
                "lower --max_length, set --gradient_checkpointing true, --tuning qlora, or --sharding fsdp2 on several "
                "GPUs"
            )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a micro-batch: adds the teacher's targets to the inputs of the model, which computes the loss."""
        student_inputs: dict[str, Any] = {
            name: value for name, value in inputs.items() if not name.startswith(TEACHER_PREFIX)
        }
        if self.teacher is not None:
            student_inputs["targets"] = self.teacher.targets(inputs)
        outputs = model(**student_inputs, num_items_in_batch=num_items_in_batch)
        loss = outputs["loss"]
        if not is_replicated(model):  # FSDP2 and ZeRO average the gradients of ranks
            loss = loss * self.args.world_size
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add sums over batches and ranks to the log of a step, check it, and append it to the metrics file.

        Raises:
            UserError: the training cannot recover; no checkpoint of this step is saved.
        """
        if "loss" in logs:
            for name, value in self._step_sums.items():
                logs[name] = self.accelerator.reduce(value.float(), reduction="sum").item()
            self._step_sums = {}
            check_step(logs, self.state.global_step, self.loss_of_guessing)
        super().log(logs, start_time)
        if "loss" in logs and self.is_world_process_zero():
            append_jsonl(self.metrics_file, [_metrics_row(self.state.global_step, logs)])


def _metrics_row(step: int, logs: dict[str, float]) -> dict[str, float]:
    names = ("epoch", "loss", "ce", "divergence", "learning_rate", "grad_norm")
    return {"step": step, **{name: logs[name] for name in names}, "num_tokens": int(logs["num_tokens"])}


@dataclass(frozen=True)
class Schedule:
    """Epochs, batch size of a device and peak learning rate of one arm."""

    epochs: int
    batch_size: int
    learning_rate: float


def train_and_save(
    model: StudentWithLoss,
    dataset: SequenceDataset,
    held_out: SequenceDataset,
    counts: SequenceCounts,
    renderer: ChatRenderer,
    config: ExperimentConfig,
    schedule: Schedule,
    folder: Path,
    *,
    teacher: Teacher | None = None,
) -> SftMetrics:
    """Train, save the student to `folder`, and return the metrics of the stage."""
    collator = Collator(renderer.pad_token_id)
    result = train(model, dataset, collator, config, schedule, folder, teacher=teacher, held_out=held_out)
    return {
        "num_sequences": counts.num_sequences,
        "held_out": counts.held_out,
        "dropped_overlong": counts.dropped_overlong,
        "cut_overlong": counts.cut_overlong,
        "tokenised_text": counts.tokenised_text,
        "num_tokens": counts.num_tokens,
        "dropped_empty": counts.dropped_empty,
        "warnings": result.warnings,
        **save_student(model.student, result, renderer, config, folder),
    }


def train(
    model: StudentWithLoss,
    dataset: SequenceDataset,
    collator: Collator,
    config: ExperimentConfig,
    schedule: Schedule,
    folder: Path,
    *,
    teacher: Teacher | None = None,
    held_out: SequenceDataset | None = None,
) -> TrainingResult:
    """Train `model` in place; a killed training resumes from the checkpoints and metrics in `folder`.

    The loss on `held_out` is written to heldout_metrics.jsonl.
    """
    callbacks: list[TrainerCallback] = [TrainingProgress(folder.name)]
    if held_out:
        file = ArmDir(folder).heldout_metrics
        callbacks.insert(0, HeldOutLoss(held_out, collator, schedule.batch_size, teacher, file))
    settings = training_settings(config, schedule.batch_size, schedule.learning_rate, folder)
    settings["gradient_accumulation_steps"] = 1  # the trainer cuts its own micro-batches
    settings |= sharding_settings(config, model)
    trainer = DistillationTrainer(
        model=model,
        update_size=schedule.batch_size * config.gradient_accumulation_steps,
        limit=Limit(schedule.batch_size, config.tokens_per_batch),
        args=on_one_device(TrainingArguments(**settings, num_train_epochs=schedule.epochs)),
        data_collator=collator,
        train_dataset=dataset,
        metrics_file=ArmDir(folder).metrics,
        teacher=teacher,
        callbacks=callbacks,
    )
    return run_trainer(trainer, folder, trainer.update_size, choose_sharding(config))
