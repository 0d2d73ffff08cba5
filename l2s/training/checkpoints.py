"""Complete checkpoints of a training, sharded or not: M ranks can resume what N ranks saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.optimizer import AcceleratedOptimizer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from l2s.devices import process_rank
from l2s.durable import flush, make_folder, remove, replacing_file, write_text_atomic, writing
from l2s.models import zero
from l2s.run_dir import ArmDir, fingerprint

SEAL = "complete.json"  # its presence and content say that a checkpoint is whole
WEIGHTS, OPTIMIZER = "model.safetensors", "optimizer.pt"  # transformers' names


def save_weights(model: nn.Module, folder: Path) -> None:
    """Save the trained weights; the others come from the base model. Every rank calls this, rank 0 writes."""
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    whole = zero.gather_masters(model) if zero.is_zero(model) else get_model_state_dict(model, options=options)
    if process_rank() == 0:
        make_folder(folder)
        kept = {name: cast(Tensor, weight).contiguous() for name, weight in whole.items() if name in trained}
        with writing(folder / WEIGHTS):
            save_file(kept, folder / WEIGHTS)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Load the weights of `save_weights` into `model`; frozen weights are unchanged."""
    if zero.is_zero(model):
        zero.load_masters(model, folder / WEIGHTS)
        return
    options = StateDictOptions(full_state_dict=True, strict=False)
    weights: dict[str, Any] = dict(load_file(folder / WEIGHTS))
    unknown = set_model_state_dict(model, weights, options=options).unexpected_keys
    assert not unknown, unknown


def save_optimizer(model: nn.Module, optimizer: Any, folder: Path) -> None:
    """Save the state of the optimizer. Every rank calls this, rank 0 writes."""
    inner, options = _unwrapped(optimizer), StateDictOptions(full_state_dict=True, cpu_offload=True)
    sharded = zero.is_zero(model)
    whole = zero.gather_optimizer(model, inner) if sharded else get_optimizer_state_dict(model, inner, options=options)
    if process_rank() == 0:
        with writing(folder / OPTIMIZER):
            torch.save(whole, folder / OPTIMIZER)


def load_optimizer(model: nn.Module, optimizer: Any, folder: Path) -> None:
    """Load the state of `save_optimizer` into `optimizer`, whose weights are those of `model`."""
    whole = torch.load(folder / OPTIMIZER, map_location="cpu", mmap=True, weights_only=True)
    if zero.is_zero(model):
        zero.load_optimizer_state(model, _unwrapped(optimizer), whole)
        return
    inner, named = _unwrapped(optimizer), list(model.named_parameters(remove_duplicate=False))
    # without a gradient so far, as the weights of a vision tower; torch would give them a state of zeros
    stateless = {name for group in whole["param_groups"] for name in group["params"]} - whole["state"].keys()
    options = StateDictOptions(full_state_dict=True, strict=not stateless)
    set_optimizer_state_dict(model, inner, whole, options=options)
    known = {weight for name, weight in named if name in whole["state"]}
    for weight in {weight for name, weight in named if name in stateless} - known:
        inner.state.pop(weight, None)


def seal(checkpoint: Path) -> None:
    """Note the fingerprints of all files of a checkpoint, once they are on disk: only then does it count as whole.

    The logs of its arm are copied into it first: a training that resumes there continues them from these copies.
    """
    arm = ArmDir(checkpoint.parent.parent)
    for log in (arm.metrics, arm.heldout_metrics):
        if log.exists():
            with writing(checkpoint / log.name):
                shutil.copyfile(log, checkpoint / log.name)
    files = sorted(file for file in checkpoint.rglob("*") if file.is_file() and file.name != SEAL)
    for part in (*files, *(file.parent for file in files), checkpoint, checkpoint.parent):
        flush(part)
    prints = {str(file.relative_to(checkpoint)): fingerprint(file) for file in files}
    write_text_atomic(checkpoint / SEAL, json.dumps(prints, indent=1))


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is sealed and its files are as they were then."""
    try:
        prints = dict(json.loads((checkpoint / SEAL).read_text(encoding="utf-8")))
        return bool(prints) and all(fingerprint(checkpoint / name) == found for name, found in prints.items())
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint. Others are removed: transformers would count them, and drop a whole one instead.

    Only one process may call this, before the training.
    """
    found = None
    for checkpoint in sorted(checkpoints_in(folder), key=step_of, reverse=True):
        if found is None and is_whole(checkpoint):
            found = checkpoint
        elif found is None:
            shutil.rmtree(checkpoint)
    return found


def restore_logs(arm: ArmDir, checkpoint: Path | None) -> None:
    """Give the logs of an arm the rows that they had at the checkpoint; without a checkpoint they start empty."""
    for log in (arm.metrics, arm.heldout_metrics):
        remove(log)
        if checkpoint and (checkpoint / log.name).exists():
            with replacing_file(log) as partial:
                shutil.copyfile(checkpoint / log.name, partial)


def checkpoints_in(folder: Path) -> list[Path]:
    """The folders of checkpoints, whole or not."""
    return [path for path in folder.glob("checkpoint-*") if path.name.partition("-")[2].isdecimal() and path.is_dir()]


def step_of(checkpoint: Path) -> int:
    """The number of updates before a checkpoint."""
    return int(checkpoint.name.rpartition("-")[2])


def _unwrapped(optimizer: Any) -> Any:
    """torch's or DeepSpeed's optimizer, without accelerate's wrapper."""
    return optimizer.optimizer if isinstance(optimizer, AcceleratedOptimizer) else optimizer
