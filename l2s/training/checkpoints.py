"""Complete checkpoints of a training, sharded or not: M ranks can resume what N ranks saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
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

WEIGHTS, OPTIMIZER = "model.safetensors", "optimizer.pt"  # transformers' names


def save_weights(model: nn.Module, folder: Path) -> None:
    """Save the trained weights; the others come from the base model. Every rank calls this, rank 0 writes."""
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    whole = get_model_state_dict(model, options=options)
    if process_rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: cast(Tensor, weight).contiguous() for name, weight in whole.items() if name in trained}
        save_file(kept, folder / WEIGHTS)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Load the weights of `save_weights` into `model`; frozen weights are unchanged."""
    options = StateDictOptions(full_state_dict=True, strict=False)
    weights: dict[str, Any] = dict(load_file(folder / WEIGHTS))
    unknown = set_model_state_dict(model, weights, options=options).unexpected_keys
    assert not unknown, unknown


def save_optimizer(model: nn.Module, optimizer: Any, folder: Path) -> None:
    """Save the state of the optimizer. Every rank calls this, rank 0 writes."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    whole = get_optimizer_state_dict(model, _unwrapped(optimizer), options=options)
    if process_rank() == 0:
        torch.save(whole, folder / OPTIMIZER)


def load_optimizer(model: nn.Module, optimizer: Any, folder: Path) -> None:
    """Load the state of `save_optimizer` into `optimizer`, whose weights are those of `model`."""
    whole = torch.load(folder / OPTIMIZER, map_location="cpu", mmap=True, weights_only=True)
    options = StateDictOptions(full_state_dict=True)
    set_optimizer_state_dict(model, _unwrapped(optimizer), whole, options=options)


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; one whose writing was interrupted is skipped."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())  # written last
            return checkpoint
        except (OSError, ValueError):
            continue
    return None


def step_of(checkpoint: Path) -> int:
    """The number of updates before a checkpoint."""
    return int(checkpoint.name.rpartition("-")[2])


def _unwrapped(optimizer: Any) -> torch.optim.Optimizer:
    """torch's optimizer, without accelerate's wrapper."""
    inner = getattr(optimizer, "optimizer", optimizer)
    assert isinstance(inner, torch.optim.Optimizer)
    return inner
