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

from l2s.config import ExperimentConfig
from l2s.devices import choose_dtype, pick_device, process_count
from l2s.errors import UserError

Sharding = Literal["none", "ddp", "fsdp2", "zero2", "zero3"]
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


def sharding_settings(config: ExperimentConfig) -> dict[str, Any]:
    """The sharding's arguments for TrainingArguments; FSDP2 reaches accelerate through the environment."""
    sharding = choose_sharding(config)
    if sharding == "fsdp2":
        os.environ |= FSDP2
    return {"deepspeed": zero_config(config, 2 if sharding == "zero2" else 3)} if sharding.startswith("zero") else {}


def zero_config(config: ExperimentConfig, stage: Literal[2, 3]) -> dict[str, Any]:
    """The configuration of DeepSpeed. l2s cuts the micro-batches, and accelerate says which is the last of an update.

    transformers fills in `auto`, and refuses a micro-batch other than its own setting.

    Gradients are added in fp32: those of LoRA are small, and sums over many ranks in bf16 lose small values.
    """
    partition: dict[str, Any] = {"stage": stage, "overlap_comm": True, "contiguous_gradients": True}
    if stage == 3:
        partition |= {"stage3_gather_16bit_weights_on_model_save": True}
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.max_grad_norm,
        "bf16": {"enabled": choose_dtype(config).name == "bfloat16"},
        "communication_data_type": "fp32",
        "zero_optimization": partition,
        "zero_allow_untested_optimizer": True,
    }


def keep_sums_wide(accelerator: Accelerator) -> None:
    """Leave loss and metrics unrounded, and add gradients of several processes in fp32.

    accelerate would round both to the dtype in which weights are gathered: to 0.4% in bf16.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and plugin.fsdp_version == 2 and plugin.mixed_precision_policy is not None:
        policy = plugin.mixed_precision_policy
        plugin.mixed_precision_policy = replace(policy, reduce_dtype=torch.float32, output_dtype=None)


def check_checkpoint(checkpoint: Path, sharding: Sharding) -> None:
    """Require a checkpoint that this training can resume.

    DeepSpeed resumes only DeepSpeed's checkpoints, of the same number of ranks. Other trainings resume all others.

    Raises:
        UserError: this training cannot resume it.
    """
    ranks = len(list(checkpoint.glob("global_step*/*zero_pp_rank_*_optim_states.pt")))
    here = process_count() if sharding.startswith("zero") else 0
    if ranks != here:
        left = f"{ranks} ranks of DeepSpeed" if ranks else "a training without DeepSpeed"
        raise UserError(
            f"sharding={sharding!r}: {checkpoint} was left by {left}, and this training has "
            f"{f'{here} such ranks' if here else 'none'}; resume it with those ranks, or add --force to start over"
        )
