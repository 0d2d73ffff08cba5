"""What a training keeps: checkpoints that count only when they are whole, and one more where it is asked to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from l2s.interrupts import request
from l2s.training.checkpoints import seal
from l2s.training.ranks import any_rank


class KeepCheckpoints(TrainerCallback):
    """Seals each checkpoint, and ends the training with one after the step in which SIGTERM came."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint and the end where any rank was asked to end; the ranks hear of it in different steps."""
        if any_rank(request.made, args.device):
            request.made = control.should_save = control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the checkpoint of this step, once all ranks have written theirs."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            seal(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")
            if request.made:
                print(f"asked to end: checkpoint of step {state.global_step} saved", flush=True)
