"""Progress of a training on the console: step, loss, speed and time left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SECONDS_BETWEEN_LINES = 10.0


class TrainingProgress(TrainerCallback):
    """Prints a line every few seconds, and one at the end."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.started = self.printed = time.monotonic()
        self.steps = self.tokens = 0  # of this process

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self.started = self.printed = time.monotonic()
        if state.is_world_process_zero and state.global_step:
            print(f"{self.label}: resumed after step {state.global_step} of {state.max_steps}", flush=True)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Count a step, and print a line if one is due."""
        if logs is None or "num_tokens" not in logs:
            return
        self.steps += 1
        self.tokens += int(logs["num_tokens"])
        now = time.monotonic()
        due = now - self.printed >= SECONDS_BETWEEN_LINES or state.global_step == state.max_steps
        if not (due and state.is_world_process_zero):
            return
        self.printed = now
        elapsed = now - self.started
        left = elapsed / self.steps * (state.max_steps - state.global_step)
        print(
            f"{self.label}: step {state.global_step} of {state.max_steps}, loss {logs['loss']:.4f}, "
            f"{self.tokens / elapsed:,.0f} answer tokens/s, {left / 60:.1f} min left{self.details(logs)}",
            flush=True,
        )

    def details(self, row: Mapping[str, float]) -> str:
        """What an arm adds to the line."""
        return ""
