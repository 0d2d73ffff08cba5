"""How the ranks of a training hold the student: whole on each, or in shards.

ddp: whole weights, gradients and optimizer on each rank. fsdp2: shards of all three, gathered layer by layer in a
forward pass. zero2: DeepSpeed shards gradients and optimizer; zero3: also the weights. The update is the same in all.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import nn

from l2s.config import ExperimentConfig
from l2s.devices import choose_dtype, pick_device, process_count
from l2s.errors import UserError
from l2s.training.checkpoints import WEIGHTS

Sharding = Literal["none", "ddp", "fsdp2", "zero2", "zero3"]
BUCKET = 10**8  # gradients that DeepSpeed sends at a time; its own 5 * 10**8 would take 5 GB of a GPU
FSDP2 = {  # environment variables that accelerate reads
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
}


def choose_sharding(config: ExperimentConfig) -> Sharding:
    """The sharding of this training: none for a single rank; `auto` is fsdp2 with full tuning, else ddp."""
    if process_count() == 1:
        return "none"
    if config.sharding != "auto":
        return config.sharding
    return "fsdp2" if config.tuning == "full" and pick_device(config).type == "cuda" else "ddp"


def sharding_settings(config: ExperimentConfig, student: nn.Module) -> dict[str, Any]:
    """The sharding's arguments for TrainingArguments; FSDP2 reaches accelerate through the environment."""
    sharding = choose_sharding(config)
    if sharding == "fsdp2":
        os.environ |= FSDP2
    if not sharding.startswith("zero"):
        return {}
    trained = sum(weight.numel() for weight in student.parameters() if weight.requires_grad)
    return {"deepspeed": zero_config(config, 2 if sharding == "zero2" else 3, trained)}


def zero_config(config: ExperimentConfig, stage: Literal[2, 3], trained: int) -> dict[str, Any]:
    """The configuration of DeepSpeed; transformers fills in `auto`, and accelerate says which micro-batch is the last.

    Gradients of ranks and of micro-batches are added in fp32: sums of many lose small values in bf16.
    """
    partition = {
        "stage": stage,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": bucket_numbers(trained),
    }
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": config.max_grad_norm,
        "bf16": {"enabled": choose_dtype(config).name == "bfloat16"},
        "communication_data_type": "fp32",
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": partition,
        "zero_allow_untested_optimizer": True,
    }


def bucket_numbers(trained: int) -> int:
    """Gradients that DeepSpeed collects before it sends them; its buckets take this room even if `trained` is less."""
    return min(BUCKET, trained)


def keep_sums_wide(accelerator: Accelerator) -> None:
    """Leave loss and metrics unrounded, and add gradients of several processes in fp32.

    accelerate would round both to the dtype in which weights are gathered: to 0.4% in bf16.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and plugin.fsdp_version == 2 and plugin.mixed_precision_policy is not None:
        policy = plugin.mixed_precision_policy
        plugin.mixed_precision_policy = replace(policy, reduce_dtype=torch.float32, output_dtype=None)


def check_checkpoint(checkpoint: Path) -> None:
    """Require a checkpoint of whole weights; earlier versions of l2s left those of DeepSpeed in its own form.

    Raises:
        UserError: it holds none.
    """
    if not (checkpoint / WEIGHTS).exists():
        raise UserError(
            f"{checkpoint} holds no {WEIGHTS}: another version of l2s left it, and this one cannot resume it; "
            "resume it with that version, or add --force to start over"
        )
