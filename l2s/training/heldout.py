"""The loss on held-out answers, measured while a student trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from l2s.jsonl import append_jsonl
from l2s.loss.reference import IGNORE_INDEX
from l2s.models.load import switch_off_dropout
from l2s.sequences import TEACHER_PREFIX, Collator, SequenceDataset
from l2s.signals.teachers import Teacher

Batch = dict[str, Tensor]
TERMS = ("loss", "ce", "divergence")


class HeldOutLoss(TrainerCallback):
    """Appends the held-out loss and its terms to `file`: before the first step, every save_steps, and at the end.

    A step's row is written before its checkpoint, so a resumed training has all earlier rows. Every process computes
    the whole loss: all ranks gather sharded weights at once, and nothing needs to be reduced. transformers' own
    evaluation would average over batches instead of tokens, and its eval mode repacks 4-bit layers.
    """

    def __init__(
        self,
        dataset: SequenceDataset,
        collator: Collator,
        batch_size: int,
        teacher: Teacher | None,
        file: Path,
    ) -> None:
        items = [dataset[index] for index in range(len(dataset))]
        batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
        self.batches = [collator(batch) for batch in batches]
        self.teacher = teacher
        self.file = file

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the initial student, unless a resumed training already has that row."""
        if state.global_step == 0:
            self._record(kwargs["model"], args, state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure before a checkpoint and after the last step."""
        if state.global_step % args.save_steps == 0 or state.global_step == state.max_steps:
            self._record(kwargs["model"], args, state)

    def _record(self, model: nn.Module, args: TrainingArguments, state: TrainerState) -> None:
        terms = self.measure(model, args.device)
        if state.is_world_process_zero:
            append_jsonl(self.file, [{"step": state.global_step, **terms}])

    @torch.no_grad()
    def measure(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """The terms of the training loss over all held-out response tokens, without dropout."""
        num_tokens = sum(int((batch["labels"] != IGNORE_INDEX).sum()) for batch in self.batches)
        sums = dict.fromkeys(TERMS, 0.0)
        was_training = model.training
        switch_off_dropout(model)
        for batch in self.batches:
            inputs = {name: tensor.to(device) for name, tensor in batch.items()}
            targets = None if self.teacher is None else self.teacher.targets(inputs)
            own = {name: tensor for name, tensor in inputs.items() if not name.startswith(TEACHER_PREFIX)}
            outputs = model(**own, targets=targets, num_items_in_batch=num_tokens)
            sums = {name: sums[name] + float(outputs[name]) for name in TERMS}
        model.train(was_training)
        if isinstance(model, FSDPModule):
            model.reshard()  # FSDP2 reshards in a backward pass only; optimizer and checkpoint need shards
        return sums
