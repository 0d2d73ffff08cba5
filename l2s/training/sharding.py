"""Training whose weights FSDP2 shards over processes, switched on by accelerate's environment variables.

    ACCELERATE_USE_FSDP=true FSDP_VERSION=2 FSDP_AUTO_WRAP_POLICY=TRANSFORMER_BASED_WRAP \
        torchrun --nproc_per_node 8 -m l2s.runner.executors outputs/NAME kd run
"""

from __future__ import annotations

from dataclasses import replace

import torch
from accelerate import Accelerator


def keep_sums_wide(accelerator: Accelerator) -> None:
    """Leave loss and metrics as the model gave them, and add gradients of several processes in fp32.

    accelerate would round both to the type in which the weights are gathered: to 0.4% in bf16.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and plugin.fsdp_version == 2 and plugin.mixed_precision_policy is not None:
        policy = plugin.mixed_precision_policy
        plugin.mixed_precision_policy = replace(policy, reduce_dtype=torch.float32, output_dtype=None)
