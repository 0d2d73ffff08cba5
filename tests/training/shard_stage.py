"""Run by torchrun from test_sft_kd_stages.py: a stage whose trainer shards with FSDP2, on the CPU.

Arguments: the run folder, the stage, and what to do: `break` stops after the second step, `resume` continues.

accelerate's variables (ACCELERATE_USE_FSDP and its kin) only shard on accelerators; with CPU processes accelerate
ignores them. Here CPU processes pass as accelerators. All that follows, from `fully_shard` to checkpoints, is its usual
path, over gloo.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from l2s.runner.executors import main
from l2s.training.progress import TrainingProgress

initialize = AcceleratorState.__init__


def initialize_sharded(self: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
    """What AcceleratorState does with several GPUs."""
    initialize(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.FSDP
        if self._mixed_precision != "no":
            fsdp_plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = fsdp_plugin


def break_off(self: TrainingProgress, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
    if state.global_step == 2:
        raise RuntimeError("broken off on purpose")


if __name__ == "__main__":
    root, stage, *parts = sys.argv[1:]
    with mock.patch.object(AcceleratorState, "__init__", initialize_sharded):
        if "break" in parts:
            with mock.patch.object(TrainingProgress, "on_step_end", break_off):
                assert main(root, stage, "run") == 1
        if "resume" in parts:
            sys.exit(main(root, stage, "resume"))
