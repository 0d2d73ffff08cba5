"""A training that is killed at a chosen step, for tests of its resume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from l2s.training.progress import TrainingProgress


class KilledError(Exception):
    """Stands for a process that ends in the middle of a step."""


@contextmanager
def killed_after(step: int) -> Iterator[None]:
    """Kill the training in the block after `step`, before that step's checkpoint; the block must end this way."""

    def die(self: TrainingProgress, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingProgress, "on_step_end", die, raising=False)
        with pytest.raises(KilledError):
            yield
