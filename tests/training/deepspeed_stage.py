"""Run by torchrun from test_deepspeed.py: SFT with DeepSpeed's CPU accelerator.

`run` stops after the second step; `resume` continues from the checkpoint of the first. Each is a process of its own, as
in a run: DeepSpeed keeps its configuration in the process.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any, Literal
from unittest import mock

from l2s.config import ExperimentConfig
from l2s.runner.executors import main
from l2s.training import sharding
from l2s.training.progress import TrainingProgress

zero_config = sharding.zero_config


def with_small_shards(config: ExperimentConfig, stage: Literal[2, 3]) -> dict[str, Any]:
    """ZeRO-3 leaves weights of less than 100,000 numbers whole, which are all of a tiny model."""
    found = zero_config(config, stage)
    found["zero_optimization"] |= {"stage3_param_persistence_threshold": 0} if stage == 3 else {}
    return found


def break_off(self: TrainingProgress, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
    if state.global_step == 2:
        raise RuntimeError("broken off on purpose")


if __name__ == "__main__":
    folder, state = sys.argv[1:]
    sharding.zero_config = with_small_shards
    with mock.patch.object(TrainingProgress, "on_step_end", break_off) if state == "run" else nullcontext():
        sys.exit(main(folder, "sft", "run" if state == "run" else "resume"))
