"""Whole weights and optimizer states of a training that DeepSpeed shards.

DeepSpeed's own checkpoints are pickles, with a file for each rank. Here all ranks gather one weight after the other, so
a checkpoint holds whole tensors, as with DDP and FSDP2: any number of ranks resumes it, with or without DeepSpeed.

DeepSpeed keeps a trained weight twice: the copy that products read, in bfloat16 or float32, and a float32 master with
the optimizer's moments. ZeRO-2 shards the second, ZeRO-3 both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.functional import pad

from l2s.devices import process_rank

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW
Masters = dict[str, Tensor]  # by the weight's name


def is_zero(model: nn.Module) -> bool:
    """Whether DeepSpeed holds the masters of this model's trained weights."""
    return any(_is_zero3(weight) or hasattr(weight, "_hp_mapping") for weight in model.parameters())


def gather_masters(model: nn.Module, *, tied: bool = False) -> Masters:
    """The float32 masters of all trained weights on the CPU of rank 0; nothing on other ranks. All ranks call this.

    `tied`: name a weight that serves twice both times.
    """
    from deepspeed.utils import safe_get_full_fp32_param  # type: ignore[import-not-found]

    return _kept((name, safe_get_full_fp32_param(weight)) for name, weight in _trained(model, tied=tied))


def gather_optimizer(model: nn.Module, zero: Any) -> dict[str, Any]:
    """AdamW's state as torch's `get_optimizer_state_dict` has it, on the CPU of rank 0. All ranks call this.

    `zero`: DeepSpeed's optimizer, which holds AdamW and its shards.
    """
    from deepspeed.utils import safe_get_full_optimizer_state

    _find_moments(zero)
    moments = {
        key: _kept((name, safe_get_full_optimizer_state(weight, key)) for name, weight in _trained(model))
        for key in MOMENTS
    }
    steps = zero.optimizer.state[_masters_here(zero)[0]]["step"].cpu()
    names = {weight: name for name, weight in _trained(model)}
    groups = [
        {**group, "params": [names[weight] for weight in weights]}
        for group, weights in zip(zero.optimizer.param_groups, _groups(zero), strict=True)
    ]
    state = {
        name: {"step": steps.clone(), **{key: moments[key][name] for key in MOMENTS}} for name in moments[MOMENTS[0]]
    }
    return {"state": state, "param_groups": groups}


def load_masters(model: nn.Module, file: Path) -> None:
    """Put the weights of a safetensors file into the masters and their copies; a rank reads one weight at a time."""
    from deepspeed import zero  # type: ignore[import-not-found]
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

    with safe_open(file, framework="pt") as whole:
        for name, weight in _trained(model):
            value = whole.get_tensor(name)
            if not _is_zero3(weight):
                safe_set_full_fp32_param(weight, value)
                weight.data.copy_(value)
                continue
            safe_set_local_fp32_param(weight, _shard(value, weight))
            with zero.GatheredParameters([weight], modifier_rank=0):
                if process_rank() == 0:
                    weight.data.copy_(value)


def load_optimizer_state(model: nn.Module, zero: Any, whole: Mapping[str, Any]) -> None:
    """Put what `gather_optimizer` returned into the shards of this rank."""
    from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

    for group, saved in zip(zero.optimizer.param_groups, whole["param_groups"], strict=True):
        group |= {key: value for key, value in saved.items() if key != "params"}
    steps = next(iter(whole["state"].values()))["step"]
    fused = zero.optimizer.param_groups[0].get("fused")  # counts its steps on the GPU
    for master in _masters_here(zero):
        zero.optimizer.state[master] = {
            "step": steps.to(master.device if fused else "cpu", copy=True),
            **{key: torch.zeros_like(master) for key in MOMENTS},
        }
    _find_moments(zero)
    for name, weight in _trained(model):
        for key in MOMENTS:
            value = whole["state"][name][key]
            if _is_zero3(weight):
                safe_set_local_optimizer_state(weight, _shard(value, weight), key)
            else:
                safe_set_full_optimizer_state(weight, value, key)


def gathered(weights: Sequence[Tensor]) -> AbstractContextManager[Any]:
    """A block in which every rank may read these weights whole; all ranks enter it together."""
    if not any(map(_is_zero3, weights)):
        return nullcontext()
    from deepspeed import zero

    return cast(AbstractContextManager[Any], zero.GatheredParameters(list(weights)))


def _trained(model: nn.Module, *, tied: bool = False) -> Iterator[tuple[str, nn.Parameter]]:
    named = model.named_parameters(remove_duplicate=not tied)
    return ((name, weight) for name, weight in named if weight.requires_grad)


def _kept(whole: Iterator[tuple[str, Tensor]]) -> Masters:
    """The gathered tensors, one after the other, on the CPU of rank 0 alone."""
    return {name: value.detach().to("cpu", copy=True) for name, value in whole if process_rank() == 0}


def _shard(value: Tensor, weight: nn.Parameter) -> Tensor:
    """This rank's part of a weight under ZeRO-3: equal parts of the flat weight, the last ones filled up with zeros.

    DeepSpeed's `safe_set_full_*` do not fill up, and fail on a weight whose size the ranks do not divide.
    """
    size = cast(Any, weight).ds_tensor.numel()
    own = value.flatten()[process_rank() * size :][:size]
    return pad(own, (0, size - own.numel()))


def _is_zero3(weight: Tensor) -> bool:
    return hasattr(weight, "ds_id")


def _masters_here(zero: Any) -> list[Tensor]:
    """The flat masters of this rank, by which AdamW keeps its state."""
    sharded = getattr(zero, "fp32_partitioned_groups_flat", None)
    return cast(list[Tensor], zero.single_partition_of_fp32_groups if sharded is None else sharded)


def _find_moments(zero: Any) -> None:
    """Tell ZeRO-2 that the moments of all groups exist.

    DeepSpeed looks for them once, after AdamW's step of the first group; those of later groups do not exist then.
    """
    if hasattr(zero, "_hp_optimizer_states_linked"):
        zero._hp_optimizer_states_linked = False
        zero._lazy_init_hp_params_optimizer_state()


def _groups(zero: Any) -> list[list[nn.Parameter]]:
    """The weights of each of AdamW's groups; ZeRO-3 cuts large groups into several."""
    if not hasattr(zero, "sub_group_to_group_id"):
        return cast(list[list[nn.Parameter]], zero.bit16_groups)
    groups: list[list[nn.Parameter]] = [[] for _ in zero.optimizer.param_groups]
    for number, weights in enumerate(zero.fp16_groups):
        groups[zero.sub_group_to_group_id[number]] += weights
    return groups
