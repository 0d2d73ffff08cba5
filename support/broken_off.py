"""A training that breaks off after a given number of updates, as a kill would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from l2s.training.progress import TrainingProgress

WORDS = "broken off on purpose"


@contextmanager
def broken_off(step: int) -> Iterator[None]:
    """In this block a training raises at the end of update `step`, before its checkpoint; 0: in none."""

    def on_step_end(self: TrainingProgress, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            raise RuntimeError(WORDS)

    with mock.patch.object(TrainingProgress, "on_step_end", on_step_end):
        yield
