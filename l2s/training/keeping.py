"""Checkpoints of a training: they count only when complete, and a request to end saves one more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from l2s.interrupts import request
from l2s.training.checkpoints import seal
from l2s.training.ranks import any_rank


class KeepCheckpoints(TrainerCallback):
    """Seals each checkpoint. After SIGTERM it saves a checkpoint at the end of the step and ends the training."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save a checkpoint and end if any rank was asked to end; ranks may get the signal in different steps."""
        if any_rank(request.made, args.device):
            request.made = control.should_save = control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the checkpoint of this step, after all ranks have written theirs."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            seal(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")
            if request.made:
                print(f"asked to end: checkpoint of step {state.global_step} saved", flush=True)
