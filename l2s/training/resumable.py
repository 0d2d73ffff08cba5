"""A trainer whose checkpoints hold whole tensors: any number of ranks resumes them, with any sharding."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import Trainer

from l2s.training.checkpoints import load_optimizer, load_weights, save_optimizer, save_weights

SCHEDULER = "scheduler.pt"  # transformers' name


class ResumableTrainer(Trainer):
    """transformers.Trainer with the checkpoints of checkpoints.py in place of transformers' and DeepSpeed's own."""

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW without empty groups (LoRA trains no norm or bias): DeepSpeed removes them, so others must as well."""
        optimizer = super().create_optimizer(model)
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
        return optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule of the learning rate. A single update has no warm-up: its rate would be 0."""
        if num_training_steps == 1:
            self.args.warmup_steps = 0
        return super().create_scheduler(num_training_steps, optimizer)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the weights of a checkpoint."""
        save_weights(cast(nn.Module, self.model), Path(output_dir or cast(str, self.args.output_dir)))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        save_optimizer(cast(nn.Module, self.model), self.optimizer, Path(output_dir))
        if self.args.should_save:
            torch.save(cast(Any, self.lr_scheduler).state_dict(), Path(output_dir) / SCHEDULER)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_weights(model or cast(nn.Module, self.model), Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        load_optimizer(cast(nn.Module, self.model), self.optimizer, Path(checkpoint))
        cast(Any, self.lr_scheduler).load_state_dict(torch.load(Path(checkpoint) / SCHEDULER, weights_only=True))

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        """Wrap the model, and load the checkpoint; with DeepSpeed, transformers would look for DeepSpeed's pickles."""
        prepare = cast(Any, super())._prepare_for_training
        if not self.is_deepspeed_enabled or resume_from_checkpoint is None:
            return prepare(max_steps, train_dataloader, resume_from_checkpoint)
        prepared = prepare(max_steps, train_dataloader, None)
        self._load_from_checkpoint(resume_from_checkpoint)
        self._load_optimizer_and_scheduler(resume_from_checkpoint)
        return prepared
