"""Run by torchrun from test_deepspeed.py: a stage with DeepSpeed's CPU accelerator.

Arguments: the run folder, the stage, `run` or `resume`, and the update at which it breaks off (0: none). Each is a
process of its own, as in a run: DeepSpeed keeps its configuration in the process.
"""

from __future__ import annotations

import sys
from typing import Any, Literal
from unittest import mock

from l2s.config import ExperimentConfig
from l2s.runner.executors import main
from l2s.training import sharding
from support.broken_off import broken_off
from support.on_policy import likeliest_tokens

zero_config = sharding.zero_config


def with_small_shards(config: ExperimentConfig, stage: Literal[2, 3], trained: int) -> dict[str, Any]:
    """ZeRO-3 leaves weights of less than 100,000 numbers whole, and updates 10**9 at a time: all of a tiny model."""
    found = zero_config(config, stage, trained)
    if stage == 3:
        found["zero_optimization"] |= {"stage3_param_persistence_threshold": 0, "sub_group_size": 5000}
    return found


if __name__ == "__main__":
    folder, stage, state, step = sys.argv[1:]
    with mock.patch.object(sharding, "zero_config", with_small_shards), likeliest_tokens(), broken_off(int(step)):
        sys.exit(main(folder, stage, "run" if state == "run" else "resume"))
